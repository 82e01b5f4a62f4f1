import pyarrow as pa
import pytest

from secateur.errors import DataError
from secateur.readers.label_spelling import LabelRules, settle_labels


def settled(labels, **rules):
    rows = pa.table({"text": [f"row {i}" for i in range(len(labels))], "label": pa.array(labels, pa.string())})
    found = settle_labels(rows, LabelRules(**rules), column="tone")
    return found.rows["label"].to_pylist(), "; ".join(found.remarks)


@pytest.mark.parametrize(
    ("labels", "merged", "named"),
    [
        (["Good", "good", "good", "bad"], ["good", "good", "good", "bad"], "'good' (2 rows) = 'Good' (1 row)"),
        (["good\u200b", "good", "good", "bad"], ["good"] * 3 + ["bad"], r"'good' (2 rows) = 'good\u200b' (1 row)"),
        (["\uff21", "A", "A", "B"], ["A", "A", "A", "B"], "'A' (2 rows) = '\uff21' (1 row)"),
        (["1", "1.0", "1", "2"], ["1", "1", "1", "2"], "'1' (2 rows) = '1.0' (1 row)"),
        (["a  b", "a b", "a b", "c"], ["a b", "a b", "a b", "c"], "'a b' (2 rows) = 'a  b' (1 row)"),
    ],
)
def test_look_alikes_are_told_and_merged_when_asked(labels, merged, named):
    same, told = settled(labels)
    assert same == labels and f"labels that look alike: {named}" in told and "lookalike_labels=merge" in told
    assert settled(labels, lookalike_labels="merge") == (
        merged,
        f"labels that look alike are one by ingest.lookalike_labels: {named}",
    )


def test_codes_that_are_equal_as_numbers_do_not_look_alike():
    labels = ["5e2", "500", "1E30", "1E31", "007", "7", "1.10", "1.1"]
    assert settled(labels, lookalike_labels="merge") == (labels, "")


def test_words_for_nothing_are_told_and_dropped_when_asked():
    labels = ["pos", "nan", "None", "NULL", "N/A", "-", r"\N", "<NA>", "neg", "nan"]
    same, told = settled(labels)
    assert same == labels
    assert told.startswith("labels that look like a missing value: 'nan' (2 rows), 'None' (1 row), 'NULL' (1 row)")
    dropped, told = settled(labels, null_labels="drop")
    assert [label for label in dropped if label] == ["pos", "neg"]
    assert "by ingest.null_labels: 'nan' (2 rows)" in told


def test_rows_without_a_label_are_told():
    assert settled(["a", None, "b", None])[1] == "2 of 4 rows have no label in 'tone', and are left out"


def test_lists_as_text_are_refused():
    with pytest.raises(DataError, match="'tone' holds lists: rows with several labels each"):
        settled(["['joy', 'fear']", "['joy']", "[]"])
