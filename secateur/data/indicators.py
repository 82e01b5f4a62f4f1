"""Several labels per row as a model learns them: 0 and 1 for every label, and what a split keeps the shares of."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from secateur.readers.label_sets import labels_in
from secateur.readers.labels import Targets, label_names

_OWN_ROWS = 20
"""A combination of so many rows is split by itself: each part gets its share of it."""

_FEWEST_ROWS = 3
"""One each for train, validation and test."""


def indicated(labels: Sequence[str], *, names: Sequence[str] | None = None) -> Targets:
    """Return for every row which labels it has, (rows, C) of 0 and 1.

    Args:
        labels: a set for each row, see ``label_sets``.
        names: in index order; None takes those that occur.
    """
    sets = [labels_in(label) for label in labels]
    known = label_names(one for found in sets for one in found) if names is None else [*names]
    index_of = {name: index for index, name in enumerate(known)}
    values = np.zeros((len(sets), len(known)), np.float32)
    for row, found in enumerate(sets):
        values[row, [index_of[one] for one in found]] = 1.0
    return Targets(known, values, strata=strata_of(values))


def strata_of(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Number the rows so that a split which keeps the shares of each number about keeps those of every label.

    A combination of labels with enough rows is a number; rows of rarer ones have that of their rarest label, where it
    has rows enough among them, else of the next one (after Sechidis et al. 2011, who take the rarest label first). Rows
    that are left are one more.

    Args:
        values: 0 and 1 for every label, (rows, C).
    """
    _, combination, rows = np.unique(values, axis=0, return_inverse=True, return_counts=True)
    combination = combination.reshape(-1)
    large = np.flatnonzero(rows >= _OWN_ROWS)
    strata = np.full(len(values), -1, np.int64)
    for number, one in enumerate(large):
        strata[combination == one] = number
    number = len(large)
    for label in np.argsort(values.sum(axis=0), kind="stable"):
        mine = np.flatnonzero((strata < 0) & (values[:, label] > 0))
        if len(mine) >= _FEWEST_ROWS:
            strata[mine] = number
            number += 1
    left = np.flatnonzero(strata < 0)
    if len(left) >= _FEWEST_ROWS or number == 0:
        strata[left] = number
    elif len(left):
        strata[left] = np.bincount(strata[strata >= 0]).argmax()
    return strata
