"""Labels that are numbers: one spelling for each, and a line for the first cell that holds none."""

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from secateur.errors import DataError
from secateur.readers.layout import Found

_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3},\d{3}")
_MANY, _FEW_ROWS = 10, 3
_LARGEST = 1e30
_SHOWN = 40


def as_number(text: str) -> float | None:
    """Return the number that a cell holds, with a decimal point; None where it is none, or has no bounds."""
    try:
        value = float(text) if "_" not in text else math.nan  # Python's 1_000
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) <= _LARGEST else None


def spelled(value: float) -> str:
    """Return the shortest spelling of a number: 4, 4.5."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def with_points(cells: Sequence[str | None]) -> tuple[list[str | None], bool]:
    """Return cells with decimal points in place of commas, where these can be nothing else, and whether they were.

    That is, where no cell has a point, and some cell has other than three digits behind its comma: 1,234 alone may be
    a thousand.
    """
    with_comma = {cell.strip() for cell in cells if cell is not None and "," in cell}
    told = bool(with_comma) and not any("." in cell for cell in cells if cell is not None)
    told = told and all(map(_COMMA.fullmatch, with_comma)) and not all(map(_THOUSANDS.fullmatch, with_comma))
    return [cell.replace(",", ".") if told and cell is not None else cell for cell in cells], told


class NumbersForLabels(DataError):
    """Rows have numbers, where labels are learned."""

    def __init__(self, column: str) -> None:
        """Say it of a column."""
        super().__init__(f"label column {column!r} holds numbers: run.task=regression learns them as such")


def are_amounts(cells: Sequence[str | None]) -> bool:
    """Tell whether cells are very likely numbers to be told, and no names of classes.

    They are many, and some have a fraction, or most stand in too few rows to be a class. Whole numbers that come back
    may be codes or grades.
    """
    counts = Counter(cell for cell in with_points(cells)[0] if cell is not None)
    values = [as_number(cell) for cell in counts]
    known = [value for value in values if value is not None]
    if len(known) < len(values) or len(known) <= _MANY:
        return False
    rare = sum(rows < _FEW_ROWS for rows in counts.values())
    return not all(value.is_integer() for value in known) or 2 * rare > len(known)


def but_for(cells: Sequence[str | None]) -> tuple[str, int] | None:
    """Return a cell that is no number, and the rows of all such, where nearly all others very likely are amounts.

    None where all cells are numbers, or different ones stand in so many rows that they may be classes.
    """
    counts = Counter(cell for cell in with_points(cells)[0] if cell is not None)
    others = {cell: rows for cell, rows in counts.items() if as_number(cell) is None}
    rare = sum(rows < _FEW_ROWS for rows in counts.values())
    if not others or len(counts) - len(others) <= _MANY * len(others) or 2 * rare <= len(counts):
        return None
    return max(others, key=lambda cell: others[cell]), sum(others.values())


def are_grades(cells: Collection[str]) -> bool:
    """Tell whether different labels are a few whole numbers in a row, such as 1 to 5."""
    values = sorted(value for cell in cells if (value := as_number(cell)) is not None)
    whole = all(value.is_integer() for value in values) and {b - a for a, b in pairwise(values)} == {1.0}
    return whole and 3 <= len(values) == len(cells) <= _MANY


def numbers_of(labels: Sequence[str | None]) -> NDArray[np.float64]:
    """Return the numbers of settled labels, (rows,); NaN where a row has none."""
    return np.array([math.nan if label is None else float(label) for label in labels], np.float64)


def settle_numbers(rows: pa.Table, *, column: str) -> Found:
    """Return rows whose labels are numbers in one spelling each, and what was found.

    Args:
        rows: with a column ``label`` of strings, null where a row has none.
        column: of the numbers in the source, for messages.

    Raises:
        DataError: a cell holds no number, or all rows have the same one.
    """
    cells, told = with_points(rows["label"].to_pylist())
    found: list[str | None] = []
    for row, cell in enumerate(cells, start=1):
        value = None if cell is None else as_number(cell)
        if cell is not None and value is None:
            raise DataError(_said_of(rows["label"][row - 1].as_py(), row=row, column=column))
        found.append(None if value is None else spelled(value))
    known = {value for value in found if value is not None}
    if len(known) == 1 and len(found) > 1:
        raise DataError(
            f"label column {column!r} holds {next(iter(known))} in every row; there is nothing to learn, numbers that "
            "differ would work"
        )
    place = rows.schema.get_field_index("label")
    remarks = [f"{column!r} is written with decimal commas: 3,5 is read as 3.5"] if told else []
    return Found(rows.set_column(place, "label", pa.array(found, pa.string())), tuple(remarks))


def _said_of(cell: str, *, row: int, column: str) -> str:
    shown = repr(cell if len(cell) <= _SHOWN else f"{cell[: _SHOWN - 3]}...")
    said = f"label column {column!r} holds {shown} in row {row}, which is no number"
    if "," in cell:
        return f"{said}; a comma may stand for a point or between thousands: write 1234.5"
    if any(map(str.isdigit, cell)):
        return f"{said}; write it alone, without what it counts: 1234.5"
    return (
        f"{said}; a row without one has an empty cell, and ingest.null_labels=drop empties nan, None, n/a and the like"
    )
