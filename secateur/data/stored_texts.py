"""Texts on disk, read as they are wanted: of each only its place is held, 8 bytes."""

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from secateur.files import replacing

Rows = NDArray[np.int64]

_AT_ONCE = 4096


def write_texts(folder: Path, texts: Iterable[str]) -> None:
    """Write texts into a new folder: their bytes one after the other, and where each ends."""
    with replacing(folder) as written:
        written.mkdir()
        ends, place = array("q"), 0
        with (written / "texts").open("wb") as file:
            for text in texts:
                place += file.write(text.encode())
                ends.append(place)
        np.save(written / "ends.npy", np.frombuffer(ends, np.int64))


class StoredTexts(Sequence[str]):
    """Texts of some folders in a row, or some of them.

    One is read when it is asked for, and many by blocks when they are gone through. The folders may be removed
    meanwhile: their files stay open.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        """Open what ``write_texts`` wrote."""
        self._files = [(folder / "texts").open("rb", buffering=0) for folder in folders]
        self._places = [np.append(0, np.load(folder / "ends.npy")) for folder in folders]
        self._begins = np.cumsum([0, *(len(places) - 1 for places in self._places)])
        self._rows: Rows = np.arange(self._begins[-1], dtype=np.int64)

    def picked(self, rows: Rows) -> "StoredTexts":
        """Return some of the texts."""
        found = object.__new__(type(self))
        found._files, found._places, found._begins = self._files, self._places, self._begins
        found._rows = self._rows[rows]
        return found

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "StoredTexts": ...
    def __getitem__(self, index: int | slice) -> "str | StoredTexts":
        if isinstance(index, slice):
            return self.picked(np.arange(len(self))[index])
        row = int(self._rows[index])
        number = int(np.searchsorted(self._begins, row, side="right")) - 1
        places, place = self._places[number], row - int(self._begins[number])
        begin, end = int(places[place]), int(places[place + 1])
        return os.pread(self._files[number].fileno(), end - begin, begin).decode()

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _AT_ONCE):
            rows = self._rows[start : start + _AT_ONCE]
            numbers = np.searchsorted(self._begins, rows, side="right") - 1
            borders = np.flatnonzero(np.diff(numbers)) + 1
            for own in np.split(rows, borders):
                yield from self._of_one(own)

    def _of_one(self, rows: Rows) -> Iterator[str]:
        """Yield texts of one folder, with one look at it."""
        number = int(np.searchsorted(self._begins, rows[0], side="right")) - 1
        places, own = self._places[number], rows - self._begins[number]
        begins, ends = places[own], places[own + 1]
        low = int(begins.min())
        content = os.pread(self._files[number].fileno(), int(ends.max()) - low, low)
        for begin, end in zip((begins - low).tolist(), (ends - low).tolist(), strict=True):
            yield content[begin:end].decode()


class Joined(Sequence[str]):
    """Sequences of texts, one after the other, none of which is copied."""

    def __init__(self, parts: Sequence[Sequence[str]]) -> None:
        """Join them."""
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        place = range(len(self))[index]
        for part in self._parts:
            if place < len(part):
                return part[place]
            place -= len(part)
        raise IndexError(index)

    def __iter__(self) -> Iterator[str]:
        for part in self._parts:
            yield from part


def picked(texts: Sequence[str], rows: Rows) -> Sequence[str]:
    """Return some of the texts, in memory where they are."""
    return texts.picked(rows) if isinstance(texts, StoredTexts) else [texts[i] for i in rows.tolist()]
