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

from secateur.evaluation.ngram_counts import Floats, Ints, Order, count_ngrams, find

UNKNOWN, END = 0, 1
_NUM_SPECIAL = 2
_NUM_CODE_POINTS = 0x110000


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
    orders: tuple[Order, ...]

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
        return cls(code_points, num_symbols, count_ngrams(symbols, start=num_symbols, order=order))

    def losses(self, texts: Sequence[str]) -> Floats:
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

    def distribution(self, beginning: str) -> Floats:
        """Return the probability of every symbol after the beginning of a text, (num_symbols,)."""
        before = _sequence([beginning], self.code_points, start=self.num_symbols, order=len(self.orders))[:-1]
        rows = np.tile(before, (self.num_symbols, 1))
        symbols = np.concatenate([rows, np.arange(self.num_symbols)[:, None]], axis=1)
        return self._probabilities(symbols.ravel()).reshape(symbols.shape)[:, -1]

    def _probabilities(self, symbols: Ints) -> Floats:
        """Return the probability of every symbol after those before it; at start symbols it means nothing."""
        base = self.num_symbols + 1
        probabilities = np.full(len(symbols), 1.0 / self.num_symbols)
        history = np.zeros(len(symbols), dtype=np.int64)  # the empty one
        for order in self.orders:
            number = find(order.keys, np.where(history < 0, -1, history * base + symbols))
            count = np.where(number < 0, 0, order.counts[number])
            total = np.where(history < 0, 0, order.totals[history])
            lower = order.discount * order.types[history] * probabilities
            mixed = (np.maximum(count - order.discount, 0.0) + lower) / np.maximum(total, 1)
            probabilities = np.where(total > 0, mixed, probabilities)
            history = np.concatenate([[-1], number[:-1]])
        return probabilities


def perplexity(losses: Floats, texts: Sequence[str]) -> float:
    """Return the perplexity per character; the end of a text counts as one."""
    return float(np.exp(losses.sum() / sum(len(text) + 1 for text in texts)))


def _code_points(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32)


def _sequence(texts: Sequence[str], code_points: npt.NDArray[np.int32], *, start: int, order: int) -> Ints:
    """Return the symbols of all texts in a row: ``order - 1`` start symbols, the characters, the end."""
    begin = np.full(order - 1, start, dtype=np.int64)
    end = np.array([END], dtype=np.int64)
    parts = [part for text in texts for part in (begin, code_points[_code_points(text)].astype(np.int64), end)]
    return np.concatenate(parts)
