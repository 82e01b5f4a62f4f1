import json

import pytest

from secateur.data.labelled import Labelled, read_labelled
from secateur.errors import DataError
from secateur.readers.layout import Columns, Layout
from secateur.readers.reading import Reading


def rows(path, pairs):
    path.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in pairs), encoding="utf-8")
    return str(path)


def read(path, labels=("no", "yes"), **options):
    return read_labelled(path, Reading(Columns("text", "label", None), **options), labels=labels)


def test_copies_of_a_text_are_one_group_whatever_their_case_width_and_spacing():
    data = Labelled(["A  fine day", "a fine DAY", "another", "\uff21 fine day"], [0, 1, 0, 0], ())
    assert data.groups().tolist() == [0, 0, 1, 0]


def test_rows_without_text_or_label_are_told(tmp_path):
    found = read(rows(tmp_path / "a.jsonl", [("x", "yes"), ("y", "no"), (None, "no"), ("z", None)]))
    assert (found.texts, found.labels) == (["x", "y"], [1, 0])
    assert found.remarks == ("a.jsonl: 2 of 4 rows have no text or no label, and are left out",)


def test_a_table_with_one_label_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"--data: all 3 rows of a.jsonl have the label 'yes'; two labels or more"):
        read(rows(tmp_path / "a.jsonl", [("x", "yes")] * 3))


def test_a_list_of_labels_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds lists: rows with several labels each \(multi-label\)"):
        read(rows(tmp_path / "a.jsonl", [("x", ["yes", "no"])] * 3))


@pytest.mark.parametrize(
    ("labels", "given"),
    [(("0", "1"), ["1.0", "0.0"]), (("false", "true"), [True, False]), (("LABEL_0", "LABEL_1"), [1, 0])],
)
def test_the_spelling_of_the_model_is_found(tmp_path, labels, given):
    assert read(rows(tmp_path / "a.jsonl", zip("xy", given, strict=True)), labels=labels).labels == [1, 0]


def test_a_table_is_read_as_it_is_said_to_be_written(tmp_path):
    path = tmp_path / "a.dat"
    path.write_bytes("text^label\nné^yes\nno^no\na^b^no\n".encode("cp1252"))
    layout = Layout(delimiter="^", bad_rows="drop")
    found = read(str(path), file_format="csv", encoding="cp1252", layout=layout)
    assert (found.texts, found.labels) == (["né", "no"], [1, 0])
