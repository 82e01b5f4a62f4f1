"""The texts of all rows while rules look at them: in memory, or as shards on disk that others may work on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from secateur.data.near_duplicates import (
    digests_of,
    first_of_equal,
    first_of_equal_digests,
    linked,
    representatives,
)
from secateur.data.parallel import clean_texts_in_processes
from secateur.data.shards import CAME, CLEANED, DISTINCT, StoredSignatures
from secateur.data.signatures import NUM_PERM, rows_per_band
from secateur.data.stored_texts import StoredTexts, write_texts
from secateur.data.text_rules import TextRules
from secateur.files import remove
from secateur.readers.pairs import has_words, texts_in

Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Alike:
    """When two texts say nearly the same: their similarity, and of what (``near_duplicates.representatives``)."""

    threshold: float
    num_chars: int


class RowTexts(Protocol):
    """One text per row."""

    def __len__(self) -> int: ...

    def came(self, row: int) -> str:
        """Return a text as it came."""

    def now(self, row: int) -> str:
        """Return a text as the rules have left it so far."""

    def of(self, rows: Indices) -> Sequence[str]:
        """Return the texts of some rows, ascending, as they are now."""

    def with_words(self) -> Mask:
        """Tell which texts hold any."""

    def clean(self, rows: Indices) -> Indices:
        """Apply the text rules to some rows; return for every row the bits of those that changed it."""

    def num_chars(self, rows: Indices) -> Indices:
        """Return the characters of some texts, of a pair those of the shorter one."""

    def first_of_equal(self, rows: Indices) -> Indices:
        """Return for each of some rows the place of the first one that is equal without case."""

    def first_alike(self, rows: Indices, before: Sequence[str] = ()) -> Indices:
        """Return for each text of ``before`` and each of some rows the place of the first one that it repeats."""


class HeldTexts:
    """Texts in memory."""

    def __init__(self, column: pa.ChunkedArray, rules: TextRules, alike: Alike, *, num_proc: int) -> None:
        """Take a column, and so many processes for the text rules."""
        self._column, self._rules, self._alike, self._num_proc = column, rules, alike, num_proc
        self._texts: list[str] = [text or "" for text in column.to_pylist()]

    def __len__(self) -> int:
        return len(self._texts)

    def came(self, row: int) -> str:
        """Return a text as it came."""
        return self._column[row].as_py() or ""

    def now(self, row: int) -> str:
        """Return a text as the rules have left it so far."""
        return self._texts[row]

    def of(self, rows: Indices) -> Sequence[str]:
        """Return some texts as they are now."""
        return [self._texts[i] for i in rows.tolist()]

    def with_words(self) -> Mask:
        """Tell which texts hold any."""
        return np.fromiter(map(has_words, self._texts), np.bool_, count=len(self._texts))

    def clean(self, rows: Indices) -> Indices:
        """Apply the text rules to some rows; return for every row the bits of those that changed it."""
        bits = np.zeros(len(self._texts), np.int64)
        cleaned = clean_texts_in_processes((self._texts[i] for i in rows), self._rules, num_proc=self._num_proc)
        for i, (text, changed) in zip(rows.tolist(), cleaned, strict=True):
            self._texts[i], bits[i] = text, changed
        return bits

    def num_chars(self, rows: Indices) -> Indices:
        """Return the characters of some texts, of a pair those of the shorter one."""
        shortest = (min(map(len, texts_in(self._texts[i]))) for i in rows.tolist())
        return np.fromiter(shortest, np.int64, count=len(rows))

    def first_of_equal(self, rows: Indices) -> Indices:
        """Return for each of some rows the place of the first one that is equal without case."""
        return first_of_equal(self._texts[i] for i in rows.tolist())

    def first_alike(self, rows: Indices, before: Sequence[str] = ()) -> Indices:
        """Return for each text of ``before`` and each of some rows the place of the first one that it repeats."""
        texts = [*before, *self.of(rows)]
        return representatives(texts, threshold=self._alike.threshold, num_chars=self._alike.num_chars)


Work = Callable[[Path, str, str, Sequence[Mapping[str, Any]]], None]
"""Does pieces of work on shards somewhere, as ``shards.work_here`` does here."""


@dataclass(frozen=True)
class Sharding:
    """How texts are cleaned in shards.

    Attributes:
        count: of shards.
        folder: that is theirs; whoever works sees it.
        work: does pieces of work.
    """

    count: int
    folder: Path
    work: Work


@contextmanager
def sharded(count: int, work: Work, *, state: Path | None) -> Iterator[Sharding | None]:
    """Yield a folder for shards, which is removed afterwards; None where one shard is asked for.

    Args:
        count: of shards.
        work: does pieces of work.
        state: folder of the project for what may be deleted at any time; None takes the machine's own.
    """
    if count == 1:
        yield None
        return
    with TemporaryDirectory() as passing:
        folder = (state or Path(passing)).resolve() / "shards"
        remove(folder)  # what a killed run has left
        folder.mkdir(parents=True)
        try:
            yield Sharding(count, folder, work)
        finally:
            remove(folder)


def written(column: pa.ChunkedArray, sharding: Sharding) -> list[str]:
    """Write a column of texts as shards of as many rows each; return their names."""
    borders = np.linspace(0, len(column), min(sharding.count, max(1, len(column))) + 1).astype(np.int64).tolist()
    names = [f"shard-{number:04d}" for number in range(len(borders) - 1)]
    for name, begin, end in zip(names, borders, borders[1:], strict=False):
        pieces = (column.slice(at, min(_ROWS_AT_ONCE, end - at)) for at in range(begin, end, _ROWS_AT_ONCE))
        write_texts(sharding.folder / name / CAME, (text or "" for piece in pieces for text in piece.to_pylist()))
    return names


class ShardedTexts:
    """Texts on disk in shards; the rules, and what texts are compared by, are worked out shard by shard."""

    def __init__(self, names: Sequence[str], rules: TextRules, alike: Alike, sharding: Sharding) -> None:
        """Have the shards worked on that ``written`` has written."""
        self._names, self._alike, self._sharding = [*names], alike, sharding
        self._rows_in_band = rows_per_band(alike.threshold)
        asked: dict[str, Any] = {"rules": asdict(rules), "sign": self._sign if alike.threshold < 1.0 else None}
        sharding.work(sharding.folder, "clean", "clean", [{"shard": name, **asked} for name in self._names])
        folders = [sharding.folder / name for name in self._names]
        self._came = StoredTexts([folder / CAME for folder in folders])
        self._cleaned = StoredTexts([folder / CLEANED for folder in folders])
        self._found = {
            what: np.concatenate([np.load(folder / f"{what}.npy") for folder in folders])
            for what in ("words", "changed", "chars", "digests")
        }
        self._now = self._came

    @property
    def _sign(self) -> dict[str, int]:
        return {"num_chars": self._alike.num_chars, "rows_in_band": self._rows_in_band}

    def __len__(self) -> int:
        return len(self._came)

    def came(self, row: int) -> str:
        """Return a text as it came."""
        return self._came[row]

    def now(self, row: int) -> str:
        """Return a text as the rules have left it so far."""
        return self._now[row]

    def of(self, rows: Indices) -> Sequence[str]:
        """Return some texts as they are now."""
        return self._now.picked(rows)

    def with_words(self) -> Mask:
        """Tell which texts hold any."""
        found: Mask = self._found["words"]
        return found

    def clean(self, rows: Indices) -> Indices:
        """Take the cleaned texts from here on; return for every row the bits of the rules that changed it."""
        self._now = self._cleaned
        bits = np.zeros(len(self), np.int64)
        bits[rows] = self._found.pop("changed")[rows]
        return bits

    def num_chars(self, rows: Indices) -> Indices:
        """Return the characters of some texts, of a pair those of the shorter one."""
        found: Indices = self._found["chars"][rows]
        return found

    def first_of_equal(self, rows: Indices) -> Indices:
        """Return for each of some rows the place of the first one that is equal without case."""
        return first_of_equal_digests(self._found["digests"][rows])

    def first_alike(self, rows: Indices, before: Sequence[str] = ()) -> Indices:
        """Return for each text of ``before`` and each of some rows the place of the first one that it repeats."""
        parents = first_of_equal_digests(np.concatenate([digests_of(before), self._found["digests"][rows]]))
        distinct = np.flatnonzero(parents == np.arange(len(parents)))
        if self._alike.threshold >= 1.0 or len(distinct) < 2:
            return parents
        names = [*self._before(before), *self._names]
        compared = np.concatenate([np.arange(len(before)), len(before) + rows])[distinct]
        folders = [self._sharding.folder / name for name in names]
        return linked(
            parents,
            distinct,
            StoredTexts([folder / CLEANED for folder in folders]).picked(compared),
            self._bands(names, compared),
            StoredSignatures(folders, compared).agreeing,
            threshold=self._alike.threshold,
            num_chars=self._alike.num_chars,
        )

    def _before(self, texts: Sequence[str]) -> list[str]:
        """Make texts of others a shard in front of the others, if there are any."""
        if not texts:
            return []
        folder, name = self._sharding.folder, "before"
        write_texts(folder / name / CLEANED, texts)
        self._sharding.work(folder, "clean: signatures", "sign", [{"shard": name, **self._sign}])
        return [name]

    def _bands(self, names: Sequence[str], compared: Indices) -> Iterator[tuple[Indices, Indices]]:
        """Yield of each band the rows that share a bucket, and where buckets start."""
        folder, count = self._sharding.folder, NUM_PERM // self._rows_in_band
        np.save(folder / DISTINCT, compared)
        several = np.array_split(np.arange(count), min(count, len(self._names)))
        asked = [{"shards": [*names], "bands": bands.tolist()} for bands in several]
        self._sharding.work(folder, "clean: bands", "sort", asked)
        for band in range(count):
            yield np.load(folder / f"band-{band}-rows.npy"), np.load(folder / f"band-{band}-starts.npy")
