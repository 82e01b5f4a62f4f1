"""Labels as names: one spelling per label, whatever type the source has, and their order."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from secateur.errors import DataError
from secateur.readers.label_sets import SEPARATOR, counted, labels_in

MIN_ROWS_PER_LABEL = 3
"""One row each for train, validation and test."""

_EXACT = 1e15


_LABEL = "label column"


def canonical_labels(values: Sequence[Any] | pa.ChunkedArray, *, name: str, what: str = _LABEL) -> pa.Array:
    """Return labels, or other names of what rows have in common, as strings; what is empty becomes null.

    Text is stripped and stays as it is spelled: ``007``, ``1E30`` and ``1.0`` are codes or numbers, and nobody can
    tell. Values whose type is a number lose a fraction of zero (``1.0`` is ``1``), and booleans are ``False`` and
    ``True``, as pandas writes them.

    Args:
        values: one per row.
        name: of their column, for messages.
        what: the column is, for messages.

    Raises:
        DataError: a value is neither text nor a number, or a number without bounds.
    """
    if isinstance(values, pa.ChunkedArray):
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            trimmed = pc.replace_substring(pc.utf8_trim_whitespace(values), SEPARATOR, "\ufffd")
            named = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, values.type), trimmed).cast(pa.string())
            return named.combine_chunks() if isinstance(named, pa.ChunkedArray) else named
        values = values.to_pylist()
    spelled: dict[Any, str | None] = {}
    names: list[str | None] = []
    for value in values:
        # The type is part of the key, because True == 1 == 1.0.
        key = (type(value), value) if value.__hash__ else None
        if key not in spelled:
            spelled[key] = _name(value, column=name, what=what)
        names.append(spelled[key])
    return pa.array(names, pa.string())


def _name(value: Any, *, column: str, what: str) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return value.strip().replace(SEPARATOR, "\ufffd") or None
    if isinstance(value, list | tuple | set) and what == _LABEL:
        raise SeveralLabels(column)
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, float) and math.isinf(value):
        raise DataError(f"{what} {column!r} holds a number that is too large to be told from others; write it as text")
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < _EXACT else str(value)
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, dict):
        tip = f"; {column}.{next(iter(value))} names a value in them" if value else ""
        raise DataError(f"{what} {column!r} holds objects, and takes text or numbers{tip}")
    if isinstance(value, date | time):
        raise DataError(f"{what} {column!r} holds dates or times; where these are names, write them as text")
    raise DataError(f"{what} {column!r} holds {type(value).__name__}; it takes text or numbers")


class SeveralLabels(DataError):
    """Rows have several labels each, where one is learned.

    Attributes:
        separator: that stands between them; None where they are lists.
    """

    def __init__(self, column: str, separator: str | None = None) -> None:
        """Say it of a column."""
        self.separator = separator
        super().__init__(
            f"label column {column!r} holds {f'labels with {separator} between them' if separator else 'lists'}: rows "
            "with several labels each (multi-label) are for run.task=multi_label; give each row one label, or name a "
            "column that has one"
        )


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def label_names(labels: Iterable[str]) -> list[str]:
    """Return the distinct labels in index order: by value when all are numbers, else by spelling."""
    distinct = set(labels)
    if all(_number(label) is not None for label in distinct):
        return sorted(distinct, key=lambda label: (float(label), label))
    return sorted(distinct)


@dataclass(frozen=True)
class Targets:
    """What a model learns from, row by row.

    Attributes:
        names: of the labels, in index order; none where a row's target is no label.
        values: of every row, (rows,) or (rows, values).
        strata: what every part has its share of, (rows,).
    """

    names: list[str]
    values: NDArray[Any]
    strata: NDArray[np.int64]


def indexed(labels: Sequence[str]) -> Targets:
    """Return the index of every row's label."""
    names = label_names(labels)
    index_of = {name: index for index, name in enumerate(names)}
    indices = np.array([index_of[label] for label in labels], np.int64)
    return Targets(names, indices, strata=indices)


def counted_in(column: pa.ChunkedArray) -> Counter[str]:
    """Return label -> rows of a column that have it, alone or among others, without a string for each row."""
    found: Counter[str] = Counter()
    for entry in pc.value_counts(column.drop_null()).to_pylist():
        for label in labels_in(entry["values"]):
            found[label] += entry["counts"]
    return found


def require_classes(
    labels: Iterable[str | None],
    *,
    when: str,
    remedy: str,
    min_labels: int = 2,
    min_rows: int = MIN_ROWS_PER_LABEL,
) -> None:
    """Check that there are as many labels as are needed, each with a row for every split.

    Args:
        labels: one per row, or a set of them.
        when: where the rows stand, for the message (``in reviews.csv``).
        remedy: what would work besides more rows, for the message.
        min_labels: different ones that there must be, 1 or 2; 0 where labels are no classes, of which some may be rare.
        min_rows: one for each part that rows are split into.

    Raises:
        DataError: naming the labels at fault and their rows.
    """
    known = [label for label in labels if label is not None]
    counts = counted(known)
    if not counts:
        raise DataError(f"no row has a label {when}; {remedy}")
    if min_labels == 0:
        return
    if len(counts) < min_labels:
        label, rows = next(iter(counts.items()))
        found = f"all {rows} rows have the label {label!r}"
        if rows < len(known):
            found = f"{label!r} is the only label ({rows} of {len(known)} rows have it)"
        raise DataError(f"{found} {when}; classification needs two labels or more: {remedy}")
    rare = sorted((rows, label) for label, rows in counts.items() if rows < min_rows)
    if not rare:
        return
    if len(rare) > 10:
        raise DataError(
            f"{len(rare)} of {len(counts)} labels have fewer than {min_rows} rows {when} "
            f"(such as {_clipped(rare[0][1])}); is it the right label column? {remedy}"
        )
    parts = "train, validation and test" if min_rows == MIN_ROWS_PER_LABEL else "train and what is split from it"
    listed = ", ".join(f"{_clipped(label)} has {rows} row{'s' if rows > 1 else ''}" for rows, label in rare)
    raise DataError(f"label {listed} {when}; {parts} need one each, so a label needs {min_rows}: {remedy}")


def _clipped(label: str) -> str:
    return repr(label if len(label) <= 40 else label[:37] + "...")
