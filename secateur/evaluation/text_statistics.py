"""What generated texts look like as text: how varied they are, how much they repeat, how much they copy."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

COPIED_LENGTH = 20
"""Characters that must agree for a passage to count as copied."""

_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no character's bits are lost


@dataclass(frozen=True)
class Variety:
    """How varied some texts are.

    Attributes:
        distinct: different n-grams over all n-grams of all texts, for n = 1, 2, 3 (Li et al. 2016, section 5).
        repetition: of every text with at least one 4-gram, the share of its 4-grams that stood in it before; the mean
            (Welleck et al. 2020, section 6: seq-rep-4).
    """

    distinct: tuple[float, float, float]
    repetition: float


def variety(texts: Sequence[Sequence[Hashable]]) -> Variety:
    """Measure texts given as tokens; shares of nothing are 0."""
    repeated = [1.0 - len(set(grams)) / len(grams) for text in texts if (grams := _ngrams(text, 4))]
    return Variety(
        distinct=(_distinct(texts, 1), _distinct(texts, 2), _distinct(texts, 3)),
        repetition=sum(repeated) / len(repeated) if repeated else 0.0,
    )


def copied_share(texts: Sequence[str], training: Iterable[str], *, length: int = COPIED_LENGTH) -> float:
    """Return the share of all ``length``-character passages of some texts that stand in a training text.

    What is indexed are the passages of ``texts``; the training texts stream by, so memory does not grow with them.

    Args:
        texts: what was generated.
        training: texts, each read once.
        length: characters of a passage.
    """
    passages = [text[start : start + length] for text in texts for start in range(len(text) - length + 1)]
    if not passages:
        return 0.0
    hashes = np.concatenate([_hashes(text, length) for text in texts])
    wanted = np.unique(hashes)
    searched = set(passages)
    found: set[str] = set()
    for text in training:
        own = _hashes(text, length)
        nearest = np.searchsorted(wanted, own).clip(max=len(wanted) - 1)
        for start in np.flatnonzero(wanted[nearest] == own).tolist():
            # The hash only says where to look.
            passage = text[start : start + length]
            if passage in searched:
                found.add(passage)
    return sum(passage in found for passage in passages) / len(passages)


def _hashes(text: str, length: int) -> npt.NDArray[np.uint64]:
    """Return a polynomial hash modulo 2^64 of every passage, (characters - length + 1,)."""
    codes = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32).astype(np.uint64)
    count = max(len(codes) - length + 1, 0)
    hashes = np.zeros(count, dtype=np.uint64)
    for place in range(length if count else 0):
        hashes = hashes * _BASE + codes[place : place + count]
    return hashes


def _distinct(texts: Sequence[Sequence[Hashable]], size: int) -> float:
    grams = [gram for text in texts for gram in _ngrams(text, size)]
    return len(set(grams)) / len(grams) if grams else 0.0


def _ngrams(text: Sequence[Hashable], size: int) -> list[tuple[Hashable, ...]]:
    return [tuple(text[start : start + size]) for start in range(len(text) - size + 1)]
