"""Rows with several labels: read from every form as one string, and taken apart where each label counts."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateur.config.part import parse_part
from secateur.errors import ConfigError, DataError
from secateur.kinds.registry import kind_named
from secateur.readers.label_cells import likely_separator
from secateur.readers.label_sets import NONE, as_set, counted, labels_in, renamed, shown
from secateur.readers.label_spelling import LabelRules, settle_labels
from secateur.readers.labels import SeveralLabels
from secateur.readers.layout import Columns, Layout
from secateur.readers.reading import reading_of
from secateur.readers.tables import format_of, read_rows

SETS = [["b", "a"], [], ["a"], ["c", "b"]]
ONE = Columns(text="text", label="tags", confidence=None, sets=True)
FLAGS = Columns(text="text", label="a", confidence=None, more=("b", "c"), sets=True)


def read(file, columns=ONE, separator=None):
    layout = Layout(label_separator=separator)
    found = read_rows(file, file_format=format_of(file, "auto"), encoding="utf-8", columns=columns, layout=layout)
    return found.rows["label"].to_pylist()


def test_a_set_is_one_string_in_one_order():
    assert as_set(["b", "a", "b"]) == as_set(["a", "b"])
    assert labels_in(as_set(["b", "a"])) == ["a", "b"]
    assert labels_in(as_set([])) == [] and as_set([]) == NONE
    assert as_set(["a"]) == "a" and labels_in("a") == ["a"] and labels_in("") == [""]
    assert counted([as_set(["a", "b"]), "a", None, NONE]) == {"a": 2, "b": 1}
    assert shown(as_set(["b", "a"])) == "a | b" and shown(NONE) == "(none)" and shown("a") == "a"
    assert renamed(as_set(["a", "b"]), {"b": "c", "a": None}, sets=True) == "c"
    assert renamed("a", {"a": None}, sets=True) == NONE and renamed("a", {"a": None}, sets=False) is None


@pytest.mark.parametrize("form", ["parquet", "jsonl", "json in csv", "python in csv", "separator"])
def test_cells_hold_lists_or_labels_with_something_between_them(tmp_path, form):
    texts = [f"text {number}" for number in range(len(SETS))]
    separator = None
    if form == "parquet":
        pq.write_table(pa.table({"text": texts, "tags": SETS}), file := tmp_path / "a.parquet")
    elif form == "jsonl":
        rows = [{"text": text, "tags": tags} for text, tags in zip(texts, SETS, strict=True)]
        (file := tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    else:
        write = {"json in csv": json.dumps, "python in csv": str, "separator": " | ".join}[form]
        separator = "|" if form == "separator" else None
        quoted = [write(tags).replace('"', '""') for tags in SETS]
        lines = [f'{text},"{cell}"' for text, cell in zip(texts, quoted, strict=True)]
        (file := tmp_path / "a.csv").write_text("text,tags\n" + "\n".join(lines))
    assert [labels_in(label) for label in read(file, separator=separator)] == [["a", "b"], [], ["a"], ["b", "c"]]


def test_numbers_in_lists_are_names_and_nothing_is_no_label(tmp_path):
    pq.write_table(pa.table({"text": ["x", "y", "z"], "tags": [[1.0, 2.0], None, [3.0, None]]}), tmp_path / "a.parquet")
    assert [labels_in(label) for label in read(tmp_path / "a.parquet")] == [["1", "2"], [], ["3"]]


def test_columns_of_0_and_1_are_labels_by_their_names(tmp_path):
    (file := tmp_path / "a.csv").write_text("text,a,b,c\nw,1,1,0\nx,0,0,0\ny,True,false,0.0\nz,0,,1\n")
    found = read(file, FLAGS)
    assert [label and labels_in(label) for label in found] == [["a", "b"], [], ["a"], None]


@pytest.mark.parametrize(
    ("cells", "columns", "message"),
    [
        ("w,1,2,0", FLAGS, r"label column 'b' holds '2'; of several label columns each holds 0 and 1"),
        ("\"['a' 'b']\",1,1,0", Columns("b", "text", None, sets=True), r"a list needs commas between its labels"),
        ('"[sales, returns]",1,1,0', Columns("b", "text", None, sets=True), r"labels of a list stand in quotes, as in"),
    ],
)
def test_what_is_no_set_is_refused_in_words(tmp_path, cells, columns, message):
    (file := tmp_path / "a.csv").write_text(f"text,a,b,c\n{cells}\n")
    with pytest.raises(DataError, match=message):
        read(file, columns)


def test_a_label_in_brackets_is_a_label_where_rows_have_several():
    rows = pa.table({"text": ["x", "y"], "label": ["[a]", as_set(["[a]", "[b]"])]})
    assert settle_labels(rows, LabelRules(sets=True), column="tags").rows.equals(rows)


def test_one_label_per_row_is_what_is_learned_unless_asked(tmp_path):
    pq.write_table(pa.table({"text": ["x"], "tags": [["a", "b"]]}), tmp_path / "a.parquet")
    with pytest.raises(SeveralLabels, match=r"holds lists: rows with several labels each .* run.task=multi_label"):
        read(tmp_path / "a.parquet", Columns("text", "tags", None))


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["a|b", "a", "b", "b|c", "c"], "|"),
        (["a;b", "b; a;c", "c;a", "b"], ";"),
        (["rain, wind", "rain", "wind", "sun, wind", "sun"], ","),
        (["Sales, Marketing", "HR", "IT", "Sales, Marketing"], None),
        (["a|b", "b", "c"], None),
        (["a|a", "a", "b", "b|a"], None),
        (["a", "b"], None),
        (["1,0", "1,5", "2,0", "2,5", "3,0", "3,5"], None),
        (["0,5", "1,0", "1,5", "5"], None),
        (["1,000", "2,000", "1", "2"], None),
        ([f"{last}, {first}" for last in ("Smith", "Doe") for first in ("John", "Anna", "Max")], None),
        (["A,B", "B,C", "C,A", "A,C"], None),
        ([], None),
    ],
)
def test_a_separator_is_seen_where_parts_stand_in_other_cells_as_well(cells, separator):
    assert likely_separator(cells) == separator


def test_labels_of_sets_are_settled_each_by_itself():
    labels = [as_set(["Good", "nan"]), as_set(["good", "x"]), "good", NONE, None]
    rows = pa.table({"label": pa.array(labels, pa.string())})
    found = settle_labels(rows, LabelRules("drop", "merge", sets=True), column="tags")
    assert found.rows["label"].to_pylist() == ["good", as_set(["good", "x"]), "good", NONE, None]
    said = " ".join(found.remarks)
    assert "1 of 5 rows have no label in 'tags', and are left out" in said
    assert "1 of 5 rows have none of the 4 labels in 'tags', and stay" in said
    assert "'good' (2 rows) = 'Good' (1 row)" in said and "'nan' (1 row)" in said


def test_the_parameters_say_which_columns_and_what_stands_between():
    flags = parse_part("multi_label", {"ingest": {"label_column": ["a", "b"]}}).ingest
    columns = reading_of(flags, kind_named("multi_label")).columns
    assert columns.labels == ("a", "b") and columns.names == ["text", "a", "b"]
    joined = parse_part("multi_label", {"ingest": {"label_column": ["a"], "label_separator": "|"}}).ingest
    assert joined.label_column == "a" and reading_of(joined, kind_named("multi_label")).layout.label_separator == "|"
    for task, ingest, message in (
        ("multi_label", {"label_column": ["a", "b"], "label_separator": "|"}, "label_separator must be null"),
        ("multi_label", {"label_column": ["a", "a"]}, "must name different columns; 'a' is named twice"),
        ("multi_label", {"label_column": ["a", ""]}, "is the name of a column, or a list of them"),
        ("classification", {"label_column": ["a", "b"]}, "must name one column, found a, b: several are for multi_lab"),
        ("classification", {"label_separator": "|"}, "label_separator must be null, found |"),
    ):
        with pytest.raises(ConfigError, match=message.replace("|", r"\|")):
            parse_part(task, {"ingest": ingest})
