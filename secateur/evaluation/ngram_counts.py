"""Counts of the n-grams of characters of one order, in sorted arrays."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Order:
    """The counts of the n-grams of one order. N-grams are numbered from 0; a history is an n-gram of the order below.

    Attributes:
        keys: history number * base + symbol of every n-gram, ascending; its place is its number.
        counts: ``C(hc)`` of every n-gram.
        totals: ``C(h)`` of every history.
        types: ``T(h)`` of every history.
        discount: ``D``.
    """

    keys: Ints
    counts: Ints
    totals: Ints
    types: Ints
    discount: float


def count_ngrams(symbols: Ints, *, start: int, order: int) -> tuple[Order, ...]:
    """Count the n-grams of one to ``order`` symbols; ``start`` stands before a text and is never predicted."""
    is_predicted = symbols != start
    made: list[Order] = []
    shorter = _Numbered(
        np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), np.zeros(len(symbols), dtype=np.int64)
    )
    current = shorter.longer(symbols, base=start + 1)
    for place in range(order):
        longer = current.longer(symbols, base=start + 1) if place + 1 < order else None
        # How many different symbols stood before: every longer n-gram that ends with this one has another.
        occurrences = np.flatnonzero(is_predicted) if longer is None else longer.first[is_predicted[longer.first]]
        counts = np.bincount(current.number[occurrences], minlength=len(current.keys))
        history, num_histories = current.keys // (start + 1), len(shorter.keys)
        totals = np.bincount(history, weights=counts, minlength=num_histories).astype(np.int64)
        types = np.bincount(history[counts > 0], minlength=num_histories)
        made.append(Order(current.keys, counts, totals, types, _discount(counts)))
        shorter, current = current, current if longer is None else longer
    return tuple(made)


@dataclass(frozen=True)
class _Numbered:
    """All n-grams of one order: keys (see ``Order``), where the first of each ends, and which one ends where."""

    keys: Ints
    first: Ints
    number: Ints

    def longer(self, symbols: Ints, *, base: int) -> "_Numbered":
        """Return the n-grams with one more symbol."""
        history = np.concatenate([[0], self.number[:-1]])
        return _Numbered(*np.unique(history * base + symbols, return_index=True, return_inverse=True))


def _discount(counts: Ints) -> float:
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    # Without any n-gram that occurred once the formula gives 0, and nothing would be left for what is new.
    return once / (once + 2 * twice) if once else 0.5


def find(keys: Ints, wanted: Ints) -> Ints:
    """Return the places of the wanted keys, -1 for those that are not there."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)
