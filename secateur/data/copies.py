"""Which rows of those that say nearly the same are mere copies."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Copies:
    """Rows that nearly repeat others, (rows,) each.

    Attributes:
        dropped: copies of an earlier row.
        disagreeing: rows of which some that are alike have another label, or a number that is far off: what the
            similarity overlooks decides.
        usual: rows of a label of which too large a share would go: that is how its texts look.
    """

    dropped: Mask
    disagreeing: Mask
    usual: Mask


def rows_of_several(first: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the rows, ascending, of each number that several rows have; numbers come in ascending order.

    Args:
        first: number of each row, (rows,).
    """
    order = np.argsort(first, kind="stable")
    begins = np.flatnonzero(np.diff(first[order], prepend=-1))
    sizes = np.diff(np.append(begins, len(order)))
    for begin, size in zip(begins[sizes > 1], sizes[sizes > 1], strict=True):
        yield order[begin : begin + size]


_SAME = 0.5
"""Standard deviations that the numbers of two texts which are alike may be apart: people who rate a text differ as
well."""


def same_within(numbers: NDArray[np.float64]) -> float:
    """Return how far apart the numbers of texts that are alike may be, and the texts still be copies."""
    return _SAME * float(np.std(numbers)) if len(numbers) else 0.0


def copies_among(
    first: NDArray[np.int64],
    labels: NDArray[np.int64],
    *,
    numbers: NDArray[np.float64] | None = None,
    groups: NDArray[np.int64] | None = None,
    max_share: float | None,
    num_before: int = 0,
) -> Copies:
    """Tell mere copies from rows that only look alike.

    Args:
        first: position of the first row that each row is like, (rows,); its own where there is none before it.
        labels: number of each row's label, (rows,).
        numbers: of each row instead of a label, (rows,).
        groups: of which the share is taken, (rows,); by default those of one label.
        max_share: largest share of a label's rows that may go; None where there are no labels.
        num_before: so many rows at the start belong to others: they stay, and only what is like them is a copy.
    """
    rows = np.arange(len(first))
    differs = np.zeros(len(first), np.bool_)
    other = labels != labels[first]
    if numbers is not None:
        other = np.abs(numbers - numbers[first]) > same_within(numbers)
    np.logical_or.at(differs, first, other)
    own = rows >= num_before
    alike: Mask = (first < num_before) & own if num_before else np.bincount(first, minlength=len(first))[first] > 1
    disagreeing: Mask = differs[first] & alike
    copies: Mask = alike & (first != rows) & ~disagreeing
    usual = np.zeros(len(first), np.bool_)
    if max_share is not None:
        shared = labels if groups is None else groups
        largest = max_share * np.bincount(shared[own], minlength=shared.max(initial=0) + 1)
        too_many = np.bincount(shared[copies], minlength=len(largest)) > largest
        usual = too_many[shared] & alike & ~disagreeing
    return Copies(dropped=copies & ~usual, disagreeing=disagreeing, usual=usual)
