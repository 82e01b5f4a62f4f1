"""Rows that say nearly the same: MinHash to find candidates, the true Jaccard similarity to decide.

Candidates come from locality-sensitive hashing as in Broder, "On the resemblance and containment of documents"
(1997), with R-MinHash signatures (rensa). Differs from the usual recipe in that every candidate is verified
on its sets of character n-grams, so no row is dropped because hashes collided.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from secateur.data.signatures import ESTIMATE_SLACK, band_keys, buckets_of, rows_per_band, signatures_of

SHINGLE_CHARS = 5
_PAIRS_AT_ONCE = 20_000
# How many members of one bucket are compared with all others; bounds the work on texts made from one template.
_MAX_LEADERS = 64


def representatives(texts: Sequence[str], *, threshold: float, num_chars: int = SHINGLE_CHARS) -> NDArray[np.int64]:
    """Return for each text the index of the first text of its component.

    Two texts are linked when the Jaccard similarity of their sets of character n-grams, compared without case, is
    at least ``threshold``; a component is everything that links reach. ``threshold`` 1 links equal texts only.

    Args:
        texts: the rows, N of them.
        threshold: similarity in (0, 1].
        num_chars: n of the n-grams; characters of Chinese say more than letters, and fewer are enough.

    Returns:
        N indices; ``result[i] == i`` exactly for the row of each component that comes first.
    """
    parents = first_of_equal(texts)
    if threshold >= 1.0 or len(texts) < 2:
        return parents
    distinct = np.flatnonzero(parents == np.arange(len(parents)))
    held = [texts[i] for i in distinct.tolist()]
    signatures = signatures_of(held, num_chars=num_chars)
    bands = map(buckets_of, band_keys(signatures, rows_per_band(threshold)))
    return linked(parents, distinct, held, bands, agreeing(signatures), threshold=threshold, num_chars=num_chars)


def first_of_equal(texts: Iterable[str]) -> NDArray[np.int64]:
    """Return for each text the index of the first one that is equal without case, N indices.

    Equal are texts whose digests are, of 128 bits each: 16 bytes are held for a text, and not a folded copy of it.
    """
    return first_of_equal_digests(digests_of(texts))


def digests_of(texts: Iterable[str]) -> NDArray[np.uint64]:
    """Return the digests of texts without case, (N, 2)."""
    digests = bytearray()
    for text in texts:
        digests += hashlib.blake2b(text.casefold().encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return np.frombuffer(digests, np.uint64).reshape(-1, 2)


def first_of_equal_digests(digests: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return for each of N digests, (N, 2), the index of the first one that is equal."""
    low, high = digests.T
    order = np.lexsort((low, high))  # stable: equal ones stay in their order
    begins = np.append(True, (low[order][1:] != low[order][:-1]) | (high[order][1:] != high[order][:-1]))[: len(order)]
    first = np.empty(len(order), np.int64)
    first[order] = order[np.flatnonzero(begins)][np.cumsum(begins) - 1]
    return first


def jaccard(left: str, right: str, *, num_chars: int = SHINGLE_CHARS) -> float:
    """Return the Jaccard similarity of the character n-grams of two texts, as they are written."""
    a, b = _shingles(left, num_chars), _shingles(right, num_chars)
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


@lru_cache(maxsize=1 << 9)
def _shingles(text: str, num_chars: int) -> frozenset[str]:
    """A text shorter than a shingle is its own only one."""
    last = max(1, len(text) - num_chars + 1)
    return frozenset(text[i : i + num_chars] for i in range(last))


class _Forest:
    """Disjoint sets whose root is their smallest member."""

    def __init__(self, size: int) -> None:
        self._parents = np.arange(size, dtype=np.int64)

    def root(self, index: int) -> int:
        while (parent := int(self._parents[index])) != index:
            self._parents[index] = self._parents[parent]
            index = parent
        return index

    def link(self, left: int, right: int) -> None:
        a, b = self.root(left), self.root(right)
        self._parents[max(a, b)] = min(a, b)

    def roots(self) -> NDArray[np.int64]:
        while not np.array_equal(above := self._parents[self._parents], self._parents):
            self._parents = above
        return self._parents


Agree = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]
"""Returns for pairs of texts the share of their signatures that agrees."""


def agreeing(signatures: NDArray[np.uint32]) -> Agree:
    """Return what compares signatures that are in memory, (texts, 128)."""
    return lambda left, right: (signatures[left] == signatures[right]).mean(axis=1)


def linked(
    parents: NDArray[np.int64],
    distinct: NDArray[np.int64],
    texts: Sequence[str],
    bands: Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]],
    agree: Agree,
    *,
    threshold: float,
    num_chars: int,
) -> NDArray[np.int64]:
    """Return what ``representatives`` does, of texts that may lie elsewhere.

    Band after band, since who leads a bucket depends on what those before have linked: in another order other pairs are
    compared, and a few rows in ten thousand come to another component.

    Args:
        parents: for each text the first one that is equal, (N,).
        distinct: those that are the first, ascending, (D,).
        texts: of these D.
        bands: the rows of each that share a bucket, bucket after bucket, and where each bucket starts.
        agree: compares pairs of the D.
        threshold: similarity in (0, 1).
        num_chars: n of the n-grams.
    """
    forest, refused = _Forest(len(distinct)), set[int]()
    for rows, starts in bands:
        members, leaders = rows, np.repeat(rows[starts], np.diff(np.append(starts, len(rows))))
        for _ in range(_MAX_LEADERS):
            members, leaders = _apart(forest, members, leaders)
            for a, b in _promising(agree, leaders, members, threshold=threshold - ESTIMATE_SLACK):
                pair = a * len(texts) + b
                if pair in refused or forest.root(a) == forest.root(b):
                    continue
                if jaccard(texts[a].casefold(), texts[b].casefold(), num_chars=num_chars) >= threshold:
                    forest.link(a, b)
                else:
                    refused.add(pair)
            members, leaders = _apart(forest, members, leaders)
            if len(members) == 0:
                break
            # The first member that its leader did not win leads the rest of the bucket.
            starts_bucket = np.append(True, leaders[1:] != leaders[:-1])
            leaders = members[np.flatnonzero(starts_bucket)][np.cumsum(starts_bucket) - 1]
    return distinct[forest.roots()[np.searchsorted(distinct, parents)]]


def _apart(
    forest: _Forest, members: NDArray[np.int64], leaders: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keep the members that are not linked to their leaders, and those leaders."""
    roots = forest.roots()
    apart = roots[members] != roots[leaders]
    return members[apart], leaders[apart]


def _promising(
    agree: Agree, left: NDArray[np.int64], right: NDArray[np.int64], *, threshold: float
) -> Iterator[tuple[int, int]]:
    """Yield the pairs whose similarity, estimated from the signatures, reaches ``threshold``."""
    for start in range(0, len(left), _PAIRS_AT_ONCE):
        a, b = left[start : start + _PAIRS_AT_ONCE], right[start : start + _PAIRS_AT_ONCE]
        likely = agree(a, b) >= threshold
        yield from zip(a[likely].tolist(), b[likely].tolist(), strict=True)
