"""MinHash signatures of texts, and the bands that propose pairs."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

NUM_PERM = 128
_SIGNATURE_SEED = 20
_CHUNK_CHARS = 250_000
# A pair at the threshold shares a band with at least this probability.
_RECALL = 0.9999
# The estimate from 128 hashes has a standard deviation of at most 0.045; four of them.
ESTIMATE_SLACK = 0.18
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)


def rows_per_band(threshold: float) -> int:
    """Return the most hashes per band with which a pair at the threshold is still found."""
    fitting = [rows for rows in range(1, NUM_PERM + 1) if 1 - (1 - threshold**rows) ** (NUM_PERM // rows) >= _RECALL]
    return max(fitting, default=1)


def band_keys(signatures: NDArray[np.uint32], rows_in_band: int) -> Iterator[NDArray[np.uint64]]:
    """Yield per band the key of each signature; texts with one key share a bucket."""
    for first in range(0, NUM_PERM - rows_in_band + 1, rows_in_band):
        keys = np.zeros(len(signatures), np.uint64)
        for column in range(first, first + rows_in_band):
            keys = (keys ^ signatures[:, column]) * _MULTIPLIER
            keys ^= keys >> np.uint64(29)
        yield keys


def buckets_of(keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the texts that share a bucket, bucket after bucket, and where each bucket starts."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    same_as_last = np.append(False, ordered[1:] == ordered[:-1])
    same_as_next = np.append(same_as_last[1:], False)
    shared = same_as_last | same_as_next
    return order[shared], np.flatnonzero(~same_as_last[shared])


def signatures_of(texts: Sequence[str], *, num_chars: int) -> NDArray[np.uint32]:
    """Return the MinHash signatures of the texts without case, shape (len(texts), 128)."""
    signatures = np.empty((len(texts), NUM_PERM), np.uint32)
    for start, end in _chunks(texts, num_chars=num_chars):
        folded = [text.casefold() for text in texts[start:end]]
        hashes, offsets = _shingle_hashes(folded, num_chars=num_chars)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, NUM_PERM, _SIGNATURE_SEED)
        signatures[start:end] = np.array(matrix.to_rows(), np.uint32)
    return signatures


def _chunks(texts: Sequence[str], *, num_chars: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows of about ``_CHUNK_CHARS`` characters, which bounds the memory of the hashes."""
    start, held = 0, 0
    for i, text in enumerate(texts):
        held += len(text) + num_chars
        if held >= _CHUNK_CHARS:
            yield start, i + 1
            start, held = i + 1, 0
    if start < len(texts):
        yield start, len(texts)


def _shingle_hashes(texts: Sequence[str], *, num_chars: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Hash every run of so many code points; return the hashes of all texts, and where each text's start."""
    padded = [text.ljust(num_chars, "\0") for text in texts]
    points = np.frombuffer("".join(padded).encode("utf-32-le"), np.uint32).astype(np.uint64)
    counts = np.fromiter((len(text) - num_chars + 1 for text in padded), np.int64, count=len(padded))
    # Each text has so many positions less one fewer than characters: skip them at every border.
    begins = np.arange(counts.sum()) + np.repeat(np.arange(len(padded)) * (num_chars - 1), counts)
    rolled = np.zeros(len(points) - num_chars + 1, np.uint64)
    for shift in range(num_chars):
        rolled = (rolled + points[shift : shift + len(rolled)]) * _MULTIPLIER
        rolled ^= rolled >> np.uint64(31)
    hashes = rolled[begins] * _MIX
    hashes ^= hashes >> np.uint64(32)
    return hashes, np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)
