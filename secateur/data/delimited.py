"""Tables of text with a delimiter: CSV, TSV and their relatives, where a stray quote must not swallow rows.

Python's own csv module reads them, strictly; this module only decides what a quote that cannot be right means.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from secateur.data.compression import open_bytes
from secateur.data.encodings import open_text
from secateur.data.header import find_header, large_cells
from secateur.data.layout import Columns, Found, Layout, require
from secateur.errors import DataError

_NAMES = {"\t": "tabs"}
_MAX_NAMED = 5
# More than this share of unreadable lines (and more than so many) is no accident.
_MAX_BAD_SHARE, _MIN_BAD = 0.01, 100


@dataclass(frozen=True)
class _Fault:
    """Why a line cannot be read, for people, what would help, and whether a quote is to blame."""

    said: str
    tip: str = "quote a text that holds the delimiter"
    of_quotes: bool = False

    def __str__(self) -> str:
        return self.said


class _Record(NamedTuple):
    """Lines ``begin`` to ``end`` (from 0, without the end) are one record, or the line ``begin`` cannot be read."""

    begin: int
    end: int
    cells: Sequence[str]
    fault: _Fault | None = None


def read_delimited(path: Path, *, tabs: bool, encoding: str, columns: Columns, layout: Layout) -> Found:
    """Read the columns as text.

    A quoted cell may hold line breaks. Where a quote opens a cell that never closes, or one that swallows whole rows,
    a table with tabs is read with quotes as characters; of another one the row is refused, or dropped and told.

    Args:
        path: the file.
        tabs: the first guess for the delimiter, else a comma.
        encoding: of its text.
        columns: what is read.
        layout: how it is written.

    Raises:
        DataError: a column is missing, or a line cannot be read.
    """
    with open_bytes(path) as raw, open_text(raw, encoding) as file:
        lines = list(file)
    lines[:1] = [line.removeprefix("\ufeff") for line in lines[:1]]
    with large_cells():
        delimiter, names, first = find_header(lines, tabs=tabs, columns=columns, layout=layout, name=path.name)
        require(columns, names, name=path.name)
        places = [names.index(column) for column in columns.names]
        label = names.index(columns.label) if columns.label else None
        table = _Table(lines, first, delimiter, len(names), label)
        records, remarks = _records(table, layout, name=path.name)
    good = [record.cells for record in records if record.fault is None]
    remarks += _dropped([record for record in records if record.fault is not None], len(lines), layout, name=path.name)
    values = {column: [cells[place] for cells in good] for column, place in zip(columns.names, places, strict=True)}
    types = {columns.text: pa.large_string()}
    return Found(pa.table({n: pa.array(v, types.get(n, pa.string())) for n, v in values.items()}), tuple(remarks))


@dataclass(frozen=True)
class _Table:
    lines: Sequence[str]
    first: int
    delimiter: str
    width: int
    label: int | None

    def scan(self, is_row: Callable[[str], bool] | None, *, plain: bool = False) -> Iterator[_Record]:
        """Yield the records, and the lines that cannot be read, after which the next line is tried.

        ``is_row`` tells whether a line could be a row by itself; a cell that holds mostly such lines is a fault.
        """
        start = self.first
        while start < len(self.lines):
            reader = csv.reader(
                map(self.lines.__getitem__, range(start, len(self.lines))),  # a slice for each bad line would be slow
                delimiter=self.delimiter,
                strict=True,
                quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL,
            )
            begin, fault = start, None
            while fault is None:
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    fault = _said(error, same_line=start + reader.line_num == begin + 1)
                    break
                end = start + reader.line_num
                if len(cells) != self.width or end - begin > 1:
                    fault = self._fault(begin, end, cells, is_row)
                if fault is None:
                    if cells:
                        yield _Record(begin, end, cells)
                    begin = end
            yield _Record(begin, begin + 1, (), fault)
            start = begin + 1

    def _fault(self, begin: int, end: int, cells: Sequence[str], is_row: Callable[[str], bool] | None) -> _Fault | None:
        if is_row and end - begin > 1:
            rows = sum(is_row(line) for line in self.lines[begin:end])
            if 2 * rows > end - begin:
                return _of_quotes(f"a quote opens a cell that holds whole rows, up to line {end}")
        if cells and len(cells) != self.width:
            said = f"it has {len(cells)} cell{'' if len(cells) == 1 else 's'} where the header has {self.width}"
            return _Fault(said) if len(cells) > self.width else _Fault(said, tip="write all of its cells, or nothing")
        return None

    def like_rows(self, records: Sequence[_Record]) -> Callable[[str], bool]:
        """Return a test for lines that would be rows by themselves: as many cells, and a label that others have."""
        good = [record for record in records if record.fault is None]
        # Where every text has several lines, the labels of these are all there is to know a label by.
        plain = [record for record in good if record.end - record.begin == 1] or good
        known = None if self.label is None else {record.cells[self.label].strip() for record in plain}

        def is_row(line: str) -> bool:
            cells = line.rstrip("\r\n").split(self.delimiter)
            if len(cells) != self.width or self.width == 1:
                return False
            return not known or self.label is None or cells[self.label].strip(' "') in known

        return is_row


def _said(error: csv.Error, *, same_line: bool) -> _Fault:
    """Put into words what the csv module found; its errors have nothing but a message."""
    if "unexpected end of data" in str(error):
        return _of_quotes("a quote opens a cell that never closes")
    if not same_line:
        return _of_quotes("a quote opens a cell that does not close in its row")
    if "expected after" in str(error):
        return _of_quotes("a quote closes a cell that goes on behind it")
    return _Fault(str(error))


def _of_quotes(said: str) -> _Fault:
    tip = 'double the " inside cells, or set ingest.quotes=text if it is a character like others'
    return _Fault(said, tip=tip, of_quotes=True)


def _records(table: _Table, layout: Layout, *, name: str) -> tuple[list[_Record], list[str]]:
    """Return the records and remarks, with quotes read as what they most probably are."""
    if layout.quotes == "text":
        return list(table.scan(None, plain=True)), []
    records = list(table.scan(None))
    if any(record.end - record.begin > 1 for record in records):
        records = list(table.scan(table.like_rows(records)))
    faults = [record for record in records if record.fault is not None]
    if table.delimiter == "\t" and any(record.fault and record.fault.of_quotes for record in faults):
        plain = list(table.scan(None, plain=True))
        if all(record.fault is None for record in plain):
            where = f"in line {faults[0].begin + 1} {faults[0].fault}"
            return plain, [f'{name}: the sign " was read as text, because {where} (ingest.quotes)']
    broken = [r for r in records if r.end - r.begin > 1 and any(_breaks(cell, table.delimiter) for cell in r.cells)]
    if not broken:
        return records, []
    where = f"lines {broken[0].begin + 1} to {broken[0].end}"
    between = _NAMES.get(table.delimiter, repr(table.delimiter))
    return records, [
        f"{name}: {len(broken)} {'row has a cell' if len(broken) == 1 else 'rows have cells'} with line breaks and "
        f"{between} in it (first: {where})"
    ]


def _breaks(cell: str, delimiter: str) -> bool:
    return delimiter in cell and ("\n" in cell or "\r" in cell)


def _dropped(faults: Sequence[_Record], num_lines: int, layout: Layout, *, name: str) -> list[str]:
    """Say which lines were dropped.

    Raises:
        DataError: there are some and they are not to be dropped, or too many for an accident.
    """
    if not faults:
        return []
    first = faults[0]
    others = f" (and {len(faults) - 1} more like it)" if len(faults) > 1 else ""
    tip = first.fault.tip if first.fault else ""
    if layout.bad_rows == "refuse":
        raise DataError(
            f"{name} line {first.begin + 1} cannot be read: {first.fault}{others}; {tip}; ingest.bad_rows=drop leaves "
            "such rows out"
        )
    if len(faults) > max(_MIN_BAD, _MAX_BAD_SHARE * num_lines):
        raise DataError(
            f"{name}: {len(faults)} of {num_lines} lines cannot be read; in line {first.begin + 1} {first.fault}; {tip}"
        )
    lines = ", ".join(str(fault.begin + 1) for fault in faults[:_MAX_NAMED]) + (
        ", ..." if len(faults) > _MAX_NAMED else ""
    )
    return [
        f"{name}: {len(faults)} {'row was' if len(faults) == 1 else 'rows were'} dropped by ingest.bad_rows (line "
        f"{lines}): {first.fault}"
    ]
