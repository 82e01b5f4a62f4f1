"""Labels as names: one spelling per label, whatever type the source has, and their order."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from secateur.config.run import Task
from secateur.errors import DataError

MIN_ROWS_PER_LABEL = 3
"""One row each for train, validation and test."""


def canonical_labels(values: Iterable[Any] | pa.ChunkedArray, *, name: str) -> pa.Array:
    """Return labels as strings; what is empty becomes null.

    Text is stripped, booleans become ``false`` and ``true``, whole floats lose their fraction: ``1``, ``1.0`` and
    ``"1"`` are one label. The spelling of text that is not a number is kept.

    Raises:
        DataError: a value is neither text nor a number.
    """
    spelled: dict[Any, str | None] = {}
    names: list[str | None] = []
    listed = values.to_pylist() if isinstance(values, pa.ChunkedArray) else values
    for value in listed:
        # The type is part of the key, because True == 1 == 1.0.
        key = (type(value), value) if value.__hash__ else None
        if key not in spelled:
            spelled[key] = _name(value, column=name)
        names.append(spelled[key])
    return pa.array(names, pa.string())


def _name(value: Any, *, column: str) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise DataError(f"label column {column!r} holds {type(value).__name__}; a label is text or a number")
    text = str(value).strip()
    number = _number(text)
    if number is not None and number.is_integer() and any(mark in text for mark in ".eE"):
        return str(int(number))
    return text or None


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


def require_classes(labels: Iterable[str | None], *, when: str, remedy: str, task: Task = "classification") -> None:
    """Check that there are labels, two for a classifier, each with a row for every split.

    Args:
        labels: one label per row.
        when: where the rows stand, for the message (``in reviews.csv``).
        remedy: what would work besides more rows, for the message.
        task: a generator may be told one label only.

    Raises:
        DataError: naming the labels at fault and their rows.
    """
    counts = Counter(label for label in labels if label is not None)
    if not counts:
        raise DataError(f"no row has a label {when}; {remedy}")
    if len(counts) == 1 and task == "classification":
        label, rows = next(iter(counts.items()))
        raise DataError(
            f"all {rows} rows have the label {label!r} {when}; classification needs two labels or more: {remedy}"
        )
    rare = sorted((rows, label) for label, rows in counts.items() if rows < MIN_ROWS_PER_LABEL)
    if not rare:
        return
    if len(rare) > 10:
        raise DataError(
            f"{len(rare)} of {len(counts)} labels have fewer than {MIN_ROWS_PER_LABEL} rows {when} "
            f"(such as {_clipped(rare[0][1])}); is it the right label column? {remedy}"
        )
    listed = ", ".join(f"{_clipped(label)} has {rows} row{'s' if rows > 1 else ''}" for rows, label in rare)
    raise DataError(
        f"label {listed} {when}; train, validation and test need one each, so a label needs {MIN_ROWS_PER_LABEL}: "
        f"{remedy}"
    )


def _clipped(label: str) -> str:
    return repr(label if len(label) <= 40 else label[:37] + "...")
