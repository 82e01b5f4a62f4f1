"""Shards of rows: what is computed of each by itself, wherever that is, and left as files.

Every piece of work is a function of its files and arguments, so its bits do not depend on who does it. It writes whole
files or none; done again, it writes the same.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.data.near_duplicates import digests_of
from secateur.data.parallel import clean_texts_in_processes
from secateur.data.signatures import NUM_PERM, band_keys, buckets_of, signatures_of
from secateur.data.stored_texts import StoredTexts, write_texts
from secateur.data.text_rules import TextRules
from secateur.files import replacing
from secateur.progress import PATIENCE_S, progress
from secateur.readers.pairs import has_words, texts_in

CAME, CLEANED = "came", "cleaned"
"""The folders of a shard's texts, as they came and after the text rules."""

DISTINCT = "distinct.npy"
"""The rows that are compared, ascending, in the folder that holds the shards."""


def work_here(folder: Path, title: str, piece: str, asked: Sequence[Mapping[str, Any]], *, num_proc: int = 1) -> None:
    """Do one piece of work after the other: no more than one shard is in memory.

    Args:
        folder: that holds the shards.
        title: of the progress.
        piece: which of ``PIECES``.
        asked: arguments of each beside the folder, values of JSON.
        num_proc: processes for the text rules.
    """
    with progress(title, total=len(asked), after_s=PATIENCE_S) as advance:
        for arguments in asked:
            PIECES[piece](folder, num_proc=num_proc, **arguments)
            advance()


def clean_shard(
    folder: Path, *, shard: str, rules: Mapping[str, Any], sign: Mapping[str, int] | None, num_proc: int = 1
) -> None:
    """Apply the text rules to the texts of a shard that have words.

    Written are ``cleaned``, and for each row ``words`` (whether it has any), ``changed`` (the bits of the rules that
    changed it), ``chars`` (of the text, of a pair the shorter one) and ``digests``; and what ``sign_shard`` writes,
    with its arguments in ``sign``.
    """
    own, came = folder / shard, list(StoredTexts([folder / shard / CAME]))
    words = np.array([has_words(text) for text in came], np.bool_)
    changed, texts = np.zeros(len(came), np.int64), came
    cleaned = clean_texts_in_processes(
        (came[i] for i in np.flatnonzero(words).tolist()), TextRules(**rules), num_proc=num_proc
    )
    for i, (text, bits) in zip(np.flatnonzero(words).tolist(), cleaned, strict=True):
        texts[i], changed[i] = text, bits
    write_texts(own / CLEANED, texts)
    _write(own / "words.npy", words)
    _write(own / "changed.npy", changed)
    _write(own / "chars.npy", np.array([min(map(len, texts_in(text))) for text in texts], np.int64))
    _write(own / "digests.npy", digests_of(texts))
    if sign is not None:
        sign_shard(folder, shard=shard, **sign)


def sign_shard(folder: Path, *, shard: str, num_chars: int, rows_in_band: int, num_proc: int = 1) -> None:
    """Write the signatures of a shard's cleaned texts, and their key in every band, (bands, rows)."""
    own = folder / shard
    signatures = signatures_of(list(StoredTexts([own / CLEANED])), num_chars=num_chars)
    _write(own / "signatures.npy", signatures)
    _write(own / "keys.npy", np.stack([*band_keys(signatures, rows_in_band)]))


def sort_bands(folder: Path, *, shards: Sequence[str], bands: Sequence[int], num_proc: int = 1) -> None:
    """Write for each of some bands the rows that share a bucket (``band-N-rows``) and where buckets start.

    Rows are numbered by their place among those that are compared.
    """
    distinct = np.load(folder / DISTINCT)
    for band in bands:
        parts = [np.load(folder / shard / "keys.npy", mmap_mode="r")[band] for shard in shards]
        rows, starts = buckets_of(np.concatenate(parts)[distinct])
        _write(folder / f"band-{band}-rows.npy", rows)
        _write(folder / f"band-{band}-starts.npy", starts)


PIECES: Mapping[str, Callable[..., None]] = {"clean": clean_shard, "sign": sign_shard, "sort": sort_bands}


def _write(file: Path, values: NDArray[Any]) -> None:
    with replacing(file) as written, written.open("wb") as opened:
        np.save(opened, values)


class StoredSignatures:
    """Signatures of shards, read as they are compared; what was read is forgotten after every call."""

    def __init__(self, folders: Sequence[Path], rows: NDArray[np.int64]) -> None:
        """Know the shards.

        Args:
            folders: of the shards.
            rows: that are compared, numbered through all of them, ascending.
        """
        self._files = [folder / "signatures.npy" for folder in folders]
        lengths = [np.load(file, mmap_mode="r").shape[0] for file in self._files]
        self._begins, self._rows = np.cumsum([0, *lengths]), rows

    def agreeing(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return for pairs of the rows that are compared the share of their signatures that agrees."""
        found: NDArray[np.float64] = (self._of(left) == self._of(right)).mean(axis=1)
        return found

    def _of(self, places: NDArray[np.int64]) -> NDArray[np.uint32]:
        rows = self._rows[places]
        numbers = np.searchsorted(self._begins, rows, side="right") - 1
        found = np.empty((len(rows), NUM_PERM), np.uint32)
        for number in np.unique(numbers).tolist():
            own = np.flatnonzero(numbers == number)
            found[own] = np.load(self._files[number], mmap_mode="r")[rows[own] - self._begins[number]]
        return found
