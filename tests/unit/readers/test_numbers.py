"""Labels that are numbers."""

import pyarrow as pa
import pytest

from secateur.errors import DataError
from secateur.readers.label_spelling import LabelRules, settle_labels
from secateur.readers.numbers import are_amounts, are_grades, as_number, spelled, with_points


def settle(*cells: str | None, **rules: str) -> tuple[list[str | None], str]:
    rows = pa.table({"text": ["a"] * len(cells), "label": pa.array(cells, pa.string())})
    found = settle_labels(rows, LabelRules(numbers=True, **rules), column="score")  # type: ignore[arg-type]
    return found.rows["label"].to_pylist(), "; ".join(found.remarks)


def test_a_number_has_one_spelling() -> None:
    assert settle("4", "4.0", "+4.50", "1e3", ".5", None)[0] == ["4", "4", "4.5", "1000", "0.5", None]
    assert [spelled(value) for value in (0.1, -2.0, 1e20)] == ["0.1", "-2", "1e+20"]


@pytest.mark.parametrize("cell", ["good", "inf", "-Infinity", "nan", "1_000", "4 stars", "50%", "1e31", "1,2,3"])
def test_what_is_no_number_is_refused_by_its_row(cell: str) -> None:
    with pytest.raises(DataError, match=r"label column 'score' holds .* in row 2, which is no number; .*") as said:
        settle("1.5", cell, "2")
    assert repr(cell) in str(said.value)


def test_words_for_nothing_are_left_out_when_asked() -> None:
    found, said = settle("1.5", "nan", "2", null_labels="drop")
    assert found == ["1.5", None, "2"] and "by ingest.null_labels: 'nan'" in said


def test_decimal_commas_are_read_where_they_can_be_nothing_else() -> None:
    found, said = settle("3,5", "4", "-1,25")
    assert found == ["3.5", "4", "-1.25"] and "is written with decimal commas" in said
    assert settle("3.5", "4")[1] == ""
    for cells in (("1,234", "2,500"), ("3,5", "4.5"), ("1,234,567", "3,5")):
        assert with_points(cells) == (list(cells), False)
        with pytest.raises(DataError, match="a comma may stand for a point or between thousands"):
            settle(*cells)


def test_numbers_that_are_all_equal_are_refused() -> None:
    with pytest.raises(DataError, match="'score' holds 3 in every row; there is nothing to learn"):
        settle("3", "3.0", None, "3")


def test_amounts_are_told_from_codes_and_grades() -> None:
    amounts = [f"{value / 7:.2f}" for value in range(40)]
    assert are_amounts(amounts) and are_amounts([one.replace(".", ",") for one in amounts])
    assert are_amounts([str(value * 37) for value in range(40)]), "whole numbers that hardly come back"
    assert not are_amounts([str(value % 12) for value in range(60)]), "codes of classes"
    assert not are_amounts(["1.5", "2.5"] * 20) and not are_amounts([*amounts, "none"])
    assert are_grades(["3", "1", "2", "5", "4"]) and are_grades(["-1", "0", "1"])
    assert not any(map(are_grades, (["0", "1"], ["1", "2", "4"], ["a", "b", "c"], ["1.5", "2.5", "3.5"])))


def test_numbers_have_bounds() -> None:
    assert as_number(" 2.5 ") == 2.5 and as_number("1e30") == 1e30 and as_number("-2e30") is None
