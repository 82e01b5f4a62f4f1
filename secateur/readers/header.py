"""The first lines of a table of text: what stands between its cells, and how its columns are called."""

import csv
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from secateur.errors import DataError
from secateur.readers.encodings import open_text
from secateur.readers.layout import Columns, Layout, MissingColumn, require
from secateur.sources.compression import open_bytes

_DELIMITERS = (",", ";", "\t", "|")
_NAMED = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
"""Excel's line before the header, which says what the delimiter is."""
_TOO_LARGE = 1 << 30
_HEADER_LINES = 1000
_LINES_ABOVE = 50
"""How far down a header is looked for: above it stand titles, dates and comments."""
_APOSTROPHES = re.compile(r"\s*'[^']*'(\s*[,;\t|]\s*'[^']*')*\s*")
_SAMPLE_ROWS = 100


class Header(NamedTuple):
    """How a header reads under a delimiter, the line behind it, from 0, and how many lines stand above it.

    ``quote`` encloses cells: an apostrophe where it encloses all names, else a quotation mark.
    """

    delimiter: str
    names: list[str]
    end: int
    quote: str = '"'
    above: int = 0


def header_of(
    path: Path, *, tabs: bool, encoding: str, layout: Layout, told: Callable[[Sequence[str]], bool] | None = None
) -> list[str]:
    """Return the names of the columns: under the delimiter that gives most of them.

    Args:
        path: of the file.
        tabs: the first guess for the delimiter, else a comma.
        encoding: of its text.
        layout: how it is written.
        told: tells names that are very likely those of columns; they may stand below a title, a line of one cell.

    Raises:
        DataError: the header line cannot be read.
    """
    lines = first_lines(path, encoding)
    with large_cells():
        read = _headers(_without_comments(lines), tabs=tabs, layout=layout, name=path.name)
    if not layout.header:
        return read[0].names
    names = max((header.names for header in read), key=len)
    if told is None or len(names) > 1 or told(names):
        return names
    below = _names_below(lines, tabs=tabs, layout=layout, name=path.name)
    return next(filter(told, below), names)


def _names_below(lines: Sequence[str], *, tabs: bool, layout: Layout, name: str) -> Iterator[list[str]]:
    """Yield what the lines below the first one would be as headers, under each delimiter."""
    for number in [number for number, line in enumerate(lines) if line.strip()][1:_LINES_ABOVE]:
        with suppress(DataError), large_cells():
            yield from (header.names for header in _headers(lines[number:], tabs=tabs, layout=layout, name=name))


def first_lines(path: Path, encoding: str) -> list[str]:
    """Return as many lines as a header may take, without a byte order mark."""
    with open_bytes(path) as raw, open_text(raw, encoding) as file:
        lines = list(islice(file, _HEADER_LINES))
    return [line.removeprefix("\ufeff") for line in lines[:1]] + lines[1:]


@contextmanager
def large_cells() -> Iterator[None]:
    """Let the csv module read cells of any size; its limit is a setting of the process."""
    before = csv.field_size_limit(min(sys.maxsize, _TOO_LARGE))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def find_header(lines: Sequence[str], *, tabs: bool, columns: Columns, layout: Layout, name: str) -> Header:
    """Return the header under the delimiter by which it has the columns, also with blanks around their names.

    It is the first line, or the first of some that has the columns.

    Raises:
        DataError: the header line cannot be read, or has not each of the columns once.
    """
    read = _headers(lines, tabs=tabs, layout=layout, name=name)
    fits = _fitting(read, columns) or _below(lines, tabs=tabs, columns=columns, layout=layout, name=name)
    try:
        require(columns, (fits or read[0]).names, name=name)
    except DataError as error:
        if fits is not None or not layout.header:
            raise
        whole = len(read[0].names) == 1 and not read[0].names[0].replace("_", "").replace(" ", "").isalnum()
        tip = "if these are several, ingest.delimiter says what stands between them; " if whole else ""
        said = f"{error}; {tip}if the first line is a row, set ingest.header=false: columns are 0, 1, ..."
        raise (MissingColumn(said, error.column) if isinstance(error, MissingColumn) else DataError(said)) from error
    return fits or read[0]


def _fitting(read: Sequence[Header], columns: Columns) -> Header | None:
    bare = [header._replace(names=[column.strip() for column in header.names]) for header in read]
    free = [header._replace(names=[column.strip(header.quote) for column in header.names]) for header in bare]
    return next((header for header in (*read, *bare, *free) if set(columns.names) <= set(header.names)), None)


def _below(lines: Sequence[str], *, tabs: bool, columns: Columns, layout: Layout, name: str) -> Header | None:
    """Return the first header that has the columns below the first line; None where there is none."""
    filled = [number for number, line in enumerate(lines) if line.strip()][1:_LINES_ABOVE]
    for above, number in enumerate(filled if layout.header else (), start=1):
        try:
            read = _headers(lines[number:], tabs=tabs, layout=layout, name=name)
        except DataError:
            continue
        if found := _fitting(read, columns):
            return found._replace(end=number + found.end, above=above)
    return None


def _without_comments(lines: Sequence[str]) -> Sequence[str]:
    """Return lines without those at the start that begin with # and hold one cell, where others follow."""
    is_comment = [line.startswith("#") and not set(line) & set(_DELIMITERS) for line in lines]
    start = next((number for number, told in enumerate(is_comment) if not told and lines[number].strip()), 0)
    return lines[start:]


def _headers(lines: Sequence[str], *, tabs: bool, layout: Layout, name: str) -> list[Header]:
    """Return the header as it reads under each delimiter, the most probable one first; without one, numbers."""
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    if any("\0" in line for line in lines[first : first + 1]):
        raise DataError(f"{name} holds NUL bytes: it may be UTF-16 without a mark; set ingest.encoding=utf-16-le")
    guesses = (
        [layout.delimiter] if layout.delimiter != "auto" else sorted(_DELIMITERS, key=lambda d: (d == "\t") != tabs)
    )
    if said := next(map(_NAMED.fullmatch, lines[first : first + 1]), None):
        first += 1
        guesses = [said.group(1)] if layout.delimiter == "auto" else guesses
    if not layout.header:
        return _numbered(lines[first:], guesses, first=first)
    read: list[Header] = []
    problem: csv.Error | None = None
    quote = "'" if layout.quotes == "auto" and any(map(_APOSTROPHES.fullmatch, lines[first : first + 1])) else '"'
    for delimiter in guesses:
        reader = csv.reader(iter(lines[first:]), delimiter=delimiter, strict=True, quotechar=quote)
        try:
            names = next(reader, [])
        except csv.Error as error:
            problem = problem or error  # names in quotes can be read under one delimiter only
            continue
        read.append(Header(delimiter, names, first + reader.line_num, quote))
    if not read:
        raise DataError(f"{name} has no readable header line: {problem}")
    return read


def _numbered(lines: Sequence[str], guesses: Sequence[str], *, first: int) -> list[Header]:
    """Return columns by number, under the delimiter first with which most rows have the same number of cells."""
    found = []
    for delimiter in guesses:
        reader = csv.reader(iter(lines), delimiter=delimiter)
        widths = Counter(len(cells) for cells in islice(reader, _SAMPLE_ROWS) if cells)
        width, rows = max(widths.items(), key=lambda entry: (entry[0] > 1, entry[1]), default=(0, 0))
        found.append(((width > 1, rows), Header(delimiter, [str(number) for number in range(width)], first)))
    return [header for _, header in sorted(found, key=lambda entry: entry[0], reverse=True)]
