"""Numbers as a model learns them, and what a split keeps the shares of."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from secateur.errors import DataError
from secateur.readers.labels import Targets
from secateur.readers.numbers import numbers_of, spelled

_BINS, _ROWS_PER_BIN = 10, 20
_DIGITS = 100
_MOST_GRADES = 30


def number_targets(labels: Sequence[str]) -> Targets:
    """Return the number of every row.

    Args:
        labels: settled, see ``secateur.readers.numbers``.

    Raises:
        DataError: all are equal, or they are told apart by digits that a model does not compute.
    """
    values = numbers_of(labels)
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise DataError(f"all {len(values)} rows have the number {spelled(low)}; numbers that differ would work")
    if _DIGITS * float(np.spacing(np.float32(max(abs(low), abs(high))))) > float(np.std(values)):
        raise DataError(
            f"the numbers lie between {spelled(low)} and {spelled(high)}: a model computes seven digits, and they "
            f"differ behind them; numbers less {spelled(low)} would work"
        )
    return Targets([], values, strata=strata_of(values))


def grade_targets(labels: Sequence[str]) -> Targets:
    """Return the place of every row's grade among all of them, 0 for the lowest.

    Args:
        labels: settled, see ``secateur.readers.numbers``.

    Raises:
        DataError: all are equal, or there are more than grades are.
    """
    names = sorted(set(labels), key=float)
    if len(names) == 1:
        raise DataError(f"all {len(labels)} rows have the grade {names[0]}; two grades or more would work")
    if len(names) > _MOST_GRADES:
        raise DataError(
            f"{len(names)} different numbers; grades are {_MOST_GRADES} at most, and run.task=regression takes any"
        )
    place = {name: index for index, name in enumerate(names)}
    values = np.array([place[label] for label in labels], np.float64)
    return Targets(names, values, strata=strata_of(values))


def strata_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number the rows by tenths of their numbers, or coarser where they are few; equal numbers stay together.

    Args:
        values: (rows,).
    """
    bins = max(1, min(_BINS, len(values) // _ROWS_PER_BIN))
    edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, bins + 1)[1:-1], method="lower"))
    strata = np.searchsorted(edges, values, side="left").astype(np.int64)
    counts = np.bincount(strata)
    # Many equal numbers leave thin bins beside them: these join the next one.
    while len(counts) > 1 and counts.min() < min(_ROWS_PER_BIN, len(values) // 2):
        thin = int(counts.argmin())
        strata[strata > (thin if thin < len(counts) - 1 else thin - 1)] -= 1
        counts = np.bincount(strata)
    return strata
