import json
from decimal import Decimal

import pyarrow as pa
import pytest

from secateur.errors import DataError
from secateur.readers.label_sets import as_set, counted
from secateur.readers.labels import canonical_labels, counted_in, label_names, require_classes


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([1, 1.0, "1", "1.0", "1e0"], ["1", "1", "1", "1.0", "1e0"]),
        (["1E30", "1E31", "5e2", "12E3", "500", "2E60"], ["1E30", "1E31", "5e2", "12E3", "500", "2E60"]),
        ([True, False, 1, "True", "true"], ["True", "False", "1", "True", "true"]),
        ([Decimal("1"), Decimal("10"), Decimal("0.50"), 1e30], ["1", "10", "0.5", "1e+30"]),
        ([" good ", "", None, float("nan"), "  "], ["good", None, None, None, None]),
        ([0.5, "0.5", "007"], ["0.5", "0.5", "007"]),
        (["好评", "nan", "inf"], ["好评", "nan", "inf"]),
    ],
)
def test_one_spelling_per_label(values, names):
    assert canonical_labels(values, name="label").to_pylist() == names


def test_text_in_arrow_is_spelled_like_text_in_python():
    values = [" 1E30 ", "007", "", None, "1.0", "True"]
    expected = canonical_labels(values, name="label")
    for kind in (pa.string(), pa.large_string()):
        assert canonical_labels(pa.chunked_array([pa.array(values, kind)]), name="label").equals(expected)


def test_numbers_are_ordered_by_value_and_text_by_spelling():
    assert label_names(["10", "9", "-1", "2.5"]) == ["-1", "2.5", "9", "10"]
    assert label_names(["10", "9", "x"]) == ["10", "9", "x"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([None], "no row has a label here"),
        (["a", "a"], "all 2 rows have the label 'a' here; classification needs two labels or more: do something"),
        (["a"] * 3 + ["b"], "label 'b' has 1 row here; .* a label needs 3: do something"),
        (["a"] * 3 + ["b", "c", "c"], "label 'b' has 1 row, 'c' has 2 rows here"),
        ([*"abcdefghijkl"], "12 of 12 labels have fewer than 3 rows here .*is it the right label column"),
    ],
)
def test_labels_that_cannot_be_learnt(labels, message):
    with pytest.raises(DataError, match=message):
        require_classes(labels, when="here", remedy="do something")


def test_three_rows_of_each_are_enough_and_two_are_not():
    require_classes(["a", "b", None] * 3, when="here", remedy="-")
    with pytest.raises(DataError):
        require_classes(["a", "b", None] * 2, when="here", remedy="-")


def test_a_number_that_no_number_can_hold_is_no_label():
    with pytest.raises(DataError, match=r"^label column 'stars' holds a number that is too large to be told"):
        canonical_labels([1.0, json.loads("1e400")], name="stars")


def test_the_labels_of_a_column_are_counted_as_those_of_its_rows():
    labels = ["a", None, "b", as_set(["a", "c"]), as_set([]), "a"]
    for chunks in ([labels], [labels[:2], labels[2:]], [[None]]):
        column = pa.chunked_array(chunks, pa.string())
        assert counted_in(column) == counted(column.to_pylist())
