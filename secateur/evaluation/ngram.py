"""A character n-gram model: what a generator has to beat before it has learned anything but spelling.

Interpolated Kneser-Ney smoothing (Kneser and Ney 1995; Chen and Goodman 1998, section 4.1.6), one discount per order,
``D = n1 / (n1 + 2 n2)`` with ``n1``, ``n2`` the n-grams that were counted once and twice (Ney, Essen and Kneser 1994):

    p(c | h) = max(C(hc) - D, 0) / C(h) + D T(h) / C(h) * p(c | h')

``C(h)`` sums ``C(hc)`` over all characters and ``T(h)`` counts those that followed; ``h'`` is ``h`` without its first
character. ``C`` are occurrences for the highest order, and for the others the number of different characters that
stood before. Below the unigrams lies the uniform distribution over the closed vocabulary: the characters of the
training texts, one symbol for all others, and the end of a text. A history that never occurred passes to ``h'``
unchanged.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]

UNKNOWN, END = 0, 1
_NUM_SPECIAL = 2
_NUM_CODE_POINTS = 0x110000


@dataclass(frozen=True)
class _Order:
    """The counts of the n-grams of one order. N-grams are numbered from 0; a history is an n-gram of the order below.

    Attributes:
        keys: history number * base + symbol of every n-gram, ascending; its place is its number.
        counts: ``C(hc)`` of every n-gram.
        totals: ``C(h)`` of every history.
        types: ``T(h)`` of every history.
        discount: ``D``.
    """

    keys: _Ints
    counts: _Ints
    totals: _Ints
    types: _Ints
    discount: float


@dataclass(frozen=True)
class NgramModel:
    """Counts of characters after their histories.

    Attributes:
        code_points: symbol of every Unicode code point, (0x110000,).
        num_symbols: size of the closed vocabulary, unknown and end included.
        orders: counts of unigrams, bigrams, ...
    """

    code_points: npt.NDArray[np.int32]
    num_symbols: int
    orders: tuple[_Order, ...]

    @classmethod
    def fit(cls, texts: Sequence[str], *, order: int = 5, unknown: Collection[str] = ()) -> Self:
        """Count the n-grams of texts; each starts from nothing and ends with the end symbol.

        Args:
            texts: at least one.
            order: characters of an n-gram, the predicted one included.
            unknown: characters that count as unknown although they occur, so that a model with a smaller alphabet is
                compared on the same task.
        """
        found = np.unique(_code_points("".join(texts)))
        found = found[~np.isin(found, [ord(character) for character in unknown])]
        code_points = np.zeros(_NUM_CODE_POINTS, dtype=np.int32)
        code_points[found] = np.arange(len(found)) + _NUM_SPECIAL
        num_symbols = len(found) + _NUM_SPECIAL
        symbols = _sequence(texts, code_points, start=num_symbols, order=order)
        return cls(code_points, num_symbols, _count(symbols, start=num_symbols, order=order))

    def losses(self, texts: Sequence[str]) -> _Floats:
        """Return minus the log-probability of every text, its end included, in nats, (texts,)."""
        if not texts:
            return np.zeros(0)
        symbols = _sequence(texts, self.code_points, start=self.num_symbols, order=len(self.orders))
        predicted = -np.log(self._probabilities(symbols)[symbols != self.num_symbols])
        starts = np.cumsum([0, *(len(text) + 1 for text in texts[:-1])])
        return np.asarray(np.add.reduceat(predicted, starts))

    def unknown_share(self, texts: Sequence[str]) -> float:
        """Return the share of the characters of some texts that are not in the vocabulary."""
        symbols = self.code_points[_code_points("".join(texts))]
        return float(np.mean(symbols == UNKNOWN)) if len(symbols) else 0.0

    def distribution(self, beginning: str) -> _Floats:
        """Return the probability of every symbol after the beginning of a text, (num_symbols,)."""
        before = _sequence([beginning], self.code_points, start=self.num_symbols, order=len(self.orders))[:-1]
        rows = np.tile(before, (self.num_symbols, 1))
        symbols = np.concatenate([rows, np.arange(self.num_symbols)[:, None]], axis=1)
        return self._probabilities(symbols.ravel()).reshape(symbols.shape)[:, -1]

    def _probabilities(self, symbols: _Ints) -> _Floats:
        """Return the probability of every symbol after those before it; at start symbols it means nothing."""
        base = self.num_symbols + 1
        probabilities = np.full(len(symbols), 1.0 / self.num_symbols)
        history = np.zeros(len(symbols), dtype=np.int64)  # the empty one
        for order in self.orders:
            number = _find(order.keys, np.where(history < 0, -1, history * base + symbols))
            count = np.where(number < 0, 0, order.counts[number])
            total = np.where(history < 0, 0, order.totals[history])
            lower = order.discount * order.types[history] * probabilities
            mixed = (np.maximum(count - order.discount, 0.0) + lower) / np.maximum(total, 1)
            probabilities = np.where(total > 0, mixed, probabilities)
            history = np.concatenate([[-1], number[:-1]])
        return probabilities


def perplexity(losses: _Floats, texts: Sequence[str]) -> float:
    """Return the perplexity per character; the end of a text counts as one."""
    return float(np.exp(losses.sum() / sum(len(text) + 1 for text in texts)))


def _code_points(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32)


def _sequence(texts: Sequence[str], code_points: npt.NDArray[np.int32], *, start: int, order: int) -> _Ints:
    """Return the symbols of all texts in a row: ``order - 1`` start symbols, the characters, the end."""
    begin = np.full(order - 1, start, dtype=np.int64)
    end = np.array([END], dtype=np.int64)
    parts = [part for text in texts for part in (begin, code_points[_code_points(text)].astype(np.int64), end)]
    return np.concatenate(parts)


def _count(symbols: _Ints, *, start: int, order: int) -> tuple[_Order, ...]:
    is_predicted = symbols != start
    made: list[_Order] = []
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
        made.append(_Order(current.keys, counts, totals, types, _discount(counts)))
        shorter, current = current, current if longer is None else longer
    return tuple(made)


@dataclass(frozen=True)
class _Numbered:
    """All n-grams of one order: keys (see ``_Order``), where the first of each ends, and which one ends where."""

    keys: _Ints
    first: _Ints
    number: _Ints

    def longer(self, symbols: _Ints, *, base: int) -> "_Numbered":
        """Return the n-grams with one more symbol."""
        history = np.concatenate([[0], self.number[:-1]])
        return _Numbered(*np.unique(history * base + symbols, return_index=True, return_inverse=True))


def _discount(counts: _Ints) -> float:
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    # Without any n-gram that occurred once the formula gives 0, and nothing would be left for what is new.
    return once / (once + 2 * twice) if once else 0.5


def _find(keys: _Ints, wanted: _Ints) -> _Ints:
    """Return the places of the wanted keys, -1 for those that are not there."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)
