"""Records of a table of text, one after the other: Python's own csv module reads them, strictly.

Where a line cannot be read, the next one is tried. What a quote that cannot be right means is decided elsewhere.
"""

import csv
import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from secateur.readers.encodings import open_text
from secateur.readers.header import large_cells
from secateur.sources.compression import open_bytes

_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class Fault:
    """Why a line cannot be read, for people, what would help, and whether a quote is to blame."""

    said: str
    tip: str = "quote a text that holds the delimiter"
    of_quotes: bool = False

    def __str__(self) -> str:
        return self.said


class Record(NamedTuple):
    """Lines ``begin`` to ``end`` (from 0, without the end) are one record, or the line ``begin`` cannot be read."""

    begin: int
    end: int
    cells: Sequence[str]
    fault: Fault | None = None


class _Feed:
    """Lines on their way to a csv reader; those of the record that it is at can be had again."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._again: deque[str] = deque()
        self.read: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.read.append(line)
        return line

    def forget(self) -> None:
        """The record has ended."""
        self.read.clear()

    def skip_one(self) -> None:
        """The first line of the record is none of it; the others come again."""
        self._again.extendleft(reversed(self.read[1:]))
        self.read.clear()


@dataclass(frozen=True)
class Quoting:
    """What a quote means.

    Attributes:
        plain: it is a character like any other.
        escapes: a backslash makes a quote, a backslash, a delimiter or the end of a line behind it a character of the
            cell; before anything else it is one itself, as in a path.
        blanks: those in front of a cell are none of it, so that a quote behind them opens it.
        is_row: tells whether a line could be a row by itself; a cell that holds mostly such lines is a fault.
    """

    plain: bool = False
    escapes: bool = False
    blanks: bool = False
    is_row: Callable[[str], bool] | None = None


@dataclass(frozen=True)
class Table:
    """Where a table is, and how its records are to be read.

    Attributes:
        path: of the file.
        encoding: of its text.
        first: lines before the first record.
        delimiter: between its cells.
        width: cells of a record.
        telling: places of the cells by which a row is known: that of the label, else all but that of the text.
        exact: whether these must be equal; else their digits may differ, as numbers of rows do.
        quote: encloses cells.
    """

    path: Path
    encoding: str
    first: int
    delimiter: str
    width: int
    telling: tuple[int, ...]
    exact: bool
    quote: str = '"'

    def mark(self, cells: Sequence[str]) -> tuple[str, ...]:
        """Return what tells by its cells whether a line could be a row."""
        found = (cells[place].strip(f" {self.quote}") for place in self.telling)
        return tuple(found) if self.exact else tuple(_DIGITS.sub("0", cell) for cell in found)

    def encloses(self, cell: str) -> bool:
        """Tell whether a cell as it was read stands in quotes behind a blank."""
        return cell[:1] == " " and len(cell) > 2 and cell.lstrip(" ")[:1] == self.quote == cell.rstrip(" ")[-1:]

    def line(self, number: int) -> str:
        """Return a line as it stands in the file, counted from 0."""
        with open_bytes(self.path) as raw, open_text(raw, self.encoding) as file:
            return next(islice(file, number, None), "")

    def scan(self, quoting: Quoting) -> Iterator[Record]:
        """Yield the records, and the lines that cannot be read, after which the next line is tried."""
        with open_bytes(self.path) as raw, open_text(raw, self.encoding) as file, large_cells():
            yield from self._records(_Feed(islice(file, self.first, None)), quoting)

    def _records(self, feed: _Feed, quoting: Quoting) -> Iterator[Record]:
        begin = self.first
        while True:
            reader = csv.reader(
                map(self._protected, feed) if quoting.escapes else feed,
                escapechar="\\" if quoting.escapes else None,
                delimiter=self.delimiter,
                strict=True,
                quotechar=self.quote,
                skipinitialspace=quoting.blanks,
                quoting=csv.QUOTE_NONE if quoting.plain else csv.QUOTE_MINIMAL,
            )
            fault = None
            while fault is None:
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    fault = _said(error, same_line=len(feed.read) == 1, quote=self.quote)
                    break
                end = begin + len(feed.read)
                if len(cells) != self.width or end - begin > 1:
                    fault = self._fault(feed.read, end, cells, quoting.is_row)
                if fault is None:
                    if cells:
                        yield Record(begin, end, cells)
                    begin = end
                    feed.forget()
            yield Record(begin, begin + 1, (), fault)
            begin += 1
            feed.skip_one()

    def _protected(self, line: str) -> str:
        """Double the backslashes that escape nothing, which the csv module would take away."""
        special = f"{self.quote}\\\r\n{self.delimiter}"
        return re.sub(rf"\\([{re.escape(special)}])?", lambda found: found[0] if found[1] else r"\\", line)

    def _fault(
        self, lines: Sequence[str], end: int, cells: Sequence[str], is_row: Callable[[str], bool] | None
    ) -> Fault | None:
        if is_row and len(lines) > 1 and 2 * sum(map(is_row, lines)) > len(lines):
            return _of_quotes(f"a quote opens a cell that holds whole rows, up to line {end}", self.quote)
        if cells and len(cells) != self.width:
            said = f"it has {len(cells)} cell{'' if len(cells) == 1 else 's'} where the header has {self.width}"
            return Fault(said) if len(cells) > self.width else Fault(said, tip="write all of its cells, or nothing")
        return None

    def like_rows(self, known: Collection[tuple[str, ...]]) -> Callable[[str], bool]:
        """Return a test for lines that would be rows by themselves: as many cells, and a mark that others have."""

        def is_row(line: str) -> bool:
            cells = line.rstrip("\r\n").split(self.delimiter)
            if len(cells) != self.width or self.width == 1:
                return False
            return not known or self.mark(cells) in known

        return is_row


def _said(error: csv.Error, *, same_line: bool, quote: str) -> Fault:
    """Put into words what the csv module found; its errors have nothing but a message."""
    if "unexpected end of data" in str(error):
        return _of_quotes("a quote opens a cell that never closes", quote)
    if not same_line:
        return _of_quotes("a quote opens a cell that does not close in its row", quote)
    if "expected after" in str(error):
        return _of_quotes("a quote closes a cell that goes on behind it", quote)
    return Fault(str(error))


def _of_quotes(said: str, quote: str) -> Fault:
    tip = f"double the {quote} inside cells, or set ingest.quotes=text if it is a character like others"
    return Fault(said, tip=tip, of_quotes=True)
