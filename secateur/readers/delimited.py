"""Tables of text with a delimiter: CSV, TSV and their relatives, where a stray quote must not swallow rows.

Python's own csv module reads them, strictly; this module only decides what a quote that cannot be right means.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import pyarrow as pa

from secateur.errors import DataError
from secateur.readers.delimited_scan import Quoting, Record, Table
from secateur.readers.header import Header, find_header, first_lines, large_cells
from secateur.readers.layout import Columns, Found, Layout, require
from secateur.readers.pieces import ROWS_AT_ONCE

_NAMES = {"\t": "tabs"}
_MAX_NAMED = 5
_TYPED_QUOTES = "“”„«»"
_MAX_MARKS = 100_000
# More than this share of unreadable lines (and more than so many) is no accident.
_MAX_BAD_SHARE, _MIN_BAD = 0.01, 100


@dataclass(frozen=True)
class Delimited:
    """A table of text that was read once, and whose records can be had one after the other as often as wanted.

    Attributes:
        header: names of the columns.
        num_rows: records that can be read.
        remarks: what a person should know about it.
    """

    header: list[str]
    num_rows: int
    remarks: tuple[str, ...]
    _table: "Table"
    _quoting: "Quoting"

    def rows(self) -> Iterator[Sequence[str]]:
        """Yield the cells of every record; memory does not grow with the file."""
        return (record.cells for record in self._table.scan(self._quoting) if record.fault is None)


def open_delimited(path: Path, *, tabs: bool, encoding: str, columns: Columns, layout: Layout) -> Delimited:
    """Read a table once, to find out how it is written and whether all of it can be read.

    A quoted cell may hold line breaks. Where a quote opens a cell that never closes, or one that swallows whole rows,
    a table with tabs is read with quotes as characters; of another one the row is refused, or dropped and told.

    Args:
        path: the file.
        tabs: the first guess for the delimiter, else a comma.
        encoding: of its text.
        columns: that it must have.
        layout: how it is written.

    Raises:
        DataError: a column is missing, or a line cannot be read.
    """
    lines = first_lines(path, encoding)
    with large_cells():
        found_header = find_header(lines, tabs=tabs, columns=columns, layout=layout, name=path.name)
    header = found_header.names
    require(columns, header, name=path.name)
    texts = [header.index(column) for column in columns.texts]
    telling = [header.index(name) for name in columns.labels] or [n for n in range(len(header)) if n not in texts]
    table = Table(
        path,
        encoding,
        found_header.end,
        found_header.delimiter,
        len(header),
        tuple(telling),
        exact=columns.label is not None,
        quote=found_header.quote,
    )
    quoting, found, remarks = _decided(table, layout)
    remarks += _dropped(found, layout, name=path.name, line=table.line)
    return Delimited(header, found.num_rows, (*_on_header(found_header, path.name), *remarks), table, quoting)


def _on_header(header: Header, name: str) -> Iterator[str]:
    if header.above:
        lines = "1 line above is" if header.above == 1 else f"{header.above} lines above are"
        yield f"{name}: the columns have their names in line {header.end}; {lines} left out"
    if header.quote != '"':
        yield f"{name}: an apostrophe was read as enclosing cells, because it encloses the names (ingest.quotes)"


def read_delimited(path: Path, *, tabs: bool, encoding: str, columns: Columns, layout: Layout) -> Found:
    """Read the columns as text, see ``open_delimited``.

    Raises:
        DataError: a column is missing, or a line cannot be read.
    """
    opened = open_delimited(path, tabs=tabs, encoding=encoding, columns=columns, layout=layout)
    places = {column: opened.header.index(column) for column in columns.names}
    types = {column: pa.large_string() if column in columns.texts else pa.string() for column in places}
    pieces, rows = [pa.schema(types).empty_table()], opened.rows()
    while chunk := list(islice(rows, ROWS_AT_ONCE)):
        cells = {column: pa.array([row[place] for row in chunk], types[column]) for column, place in places.items()}
        pieces.append(pa.table(cells))
    return Found(pa.concat_tables(pieces), opened.remarks)


@dataclass
class _Survey:
    """What a table was found to hold.

    Attributes:
        num_rows: records that can be read.
        num_lines: lines, header included.
        faults: lines that cannot be read.
        broken: records with a cell that holds line breaks and delimiters, and the first of them.
        blanked: records with a cell in quotes behind a blank, as it was read.
        escaped: records with a backslash before a quote in a cell, as it was read.
        several: whether a record takes several lines.
        marks: of the records that take one line, or several (True); of very many only the first.
    """

    num_rows: int = 0
    num_lines: int = 0
    faults: list[Record] = field(default_factory=list)
    broken: int = 0
    first_broken: Record | None = None
    blanked: int = 0
    escaped: int = 0
    several: bool = False
    marks: dict[bool, set[tuple[str, ...]]] = field(default_factory=lambda: {False: set(), True: set()})

    @property
    def known(self) -> set[tuple[str, ...]]:
        """Marks; where every text has several lines, those of these are all there is to know a row by."""
        return self.marks[False] or self.marks[True]


def _survey(table: Table, quoting: Quoting) -> _Survey:
    found = _Survey()
    for record in table.scan(quoting):
        found.num_lines = record.end
        if record.fault is not None:
            found.faults.append(record)
            continue
        found.num_rows += 1
        found.blanked += any(map(table.encloses, record.cells))
        found.escaped += any(f"\\{table.quote}" in cell for cell in record.cells)
        takes_several = record.end - record.begin > 1
        if len(found.marks[takes_several]) < _MAX_MARKS:
            found.marks[takes_several].add(table.mark(record.cells))
        if not takes_several:
            continue
        found.several = True
        if any(_breaks(cell, table.delimiter) for cell in record.cells):
            found.broken += 1
            found.first_broken = found.first_broken or record
    return found


def _decided(table: Table, layout: Layout) -> tuple[Quoting, _Survey, list[str]]:
    """Return what quotes most probably are, what the table holds if so, and remarks."""
    quoting = Quoting(plain=layout.quotes == "text", escapes=layout.escapes == "backslash")
    quoting, found = _told_apart(table, quoting)
    remarks: list[str] = []
    for other, what in _others(table, quoting, found):
        different, read = _told_apart(table, other)
        if not read.faults and read.num_rows >= found.num_rows:
            where = f"{found.blanked} rows have a quote behind one"
            if found.faults:
                where = f"in line {found.faults[0].begin + 1} {found.faults[0].fault}"
            quoting, found, remarks = different, read, [f"{table.path.name}: {what}, because {where}"]
            break
    if found.escaped and not quoting.escapes:
        rows = "1 row holds" if found.escaped == 1 else f"{found.escaped} rows hold"
        sign = table.quote
        remarks.append(
            f"{table.path.name}: {rows} \\{sign} as it stands; ingest.escapes=backslash reads it as a {sign}"
        )
    return quoting, found, [*remarks, *_broken(table, found)]


def _told_apart(table: Table, quoting: Quoting) -> tuple[Quoting, _Survey]:
    """Survey a table; where cells hold line breaks, a cell that holds whole rows is a fault."""
    found = _survey(table, quoting)
    if quoting.plain or not found.several:
        return quoting, found
    quoting = replace(quoting, is_row=table.like_rows(found.known))
    return quoting, _survey(table, quoting)


def _others(table: Table, quoting: Quoting, found: _Survey) -> Iterator[tuple[Quoting, str]]:
    """Yield what else a quote could mean, where some lines cannot be read, and in which words that is told."""
    if quoting.plain:
        return
    if found.faults or 2 * found.blanked > found.num_rows:
        yield replace(quoting, blanks=True, is_row=None), "a blank at the beginning of a cell is none of it"
    if not found.faults:
        return
    if not quoting.escapes:
        yield (
            Quoting(escapes=True),
            "a backslash was read as making a part of the cell of the sign behind it (ingest.escapes)",
        )
    if table.delimiter == "\t" and any(record.fault and record.fault.of_quotes for record in found.faults):
        yield replace(quoting, plain=True, is_row=None), f"the sign {table.quote} was read as text (ingest.quotes)"


def _broken(table: Table, found: _Survey) -> list[str]:
    """Tell of cells that hold line breaks and delimiters, which a stray quote can make."""
    if found.first_broken is None:
        return []
    where = f"lines {found.first_broken.begin + 1} to {found.first_broken.end}"
    between = _NAMES.get(table.delimiter, repr(table.delimiter))
    return [
        f"{table.path.name}: {found.broken} {'row has a cell' if found.broken == 1 else 'rows have cells'} with line "
        f"breaks and {between} in it (first: {where})"
    ]


def _breaks(cell: str, delimiter: str) -> bool:
    return delimiter in cell and ("\n" in cell or "\r" in cell)


def _advice(line: str) -> str:
    """Return what would help where no row has as many cells as the header, from the first of them."""
    if found := next((sign for sign in line if sign in _TYPED_QUOTES), None):
        return f'{found} encloses nothing in a table: write " in place of such signs'
    return (
        "name every column in the header, one of row numbers as well, and end rows with a delimiter only where the "
        "header does"
    )


def _dropped(found: _Survey, layout: Layout, *, name: str, line: Callable[[int], str]) -> list[str]:
    """Say which lines were dropped.

    Args:
        found: the lines.
        layout: whether they may be.
        name: of the file, for messages.
        line: returns one as it stands there.

    Raises:
        DataError: there are some and they are not to be dropped, or too many for an accident.
    """
    faults, num_lines = found.faults, found.num_lines
    if not faults:
        return []
    first = faults[0]
    others = f" (and {len(faults) - 1} more like it)" if len(faults) > 1 else ""
    tip = first.fault.tip if first.fault else ""
    if found.num_rows == 0 and others and not any(fault.fault and fault.fault.of_quotes for fault in faults):
        advice = _advice(line(first.begin))
        raise DataError(f"{name}: no row can be read: in line {first.begin + 1} {first.fault}{others}; {advice}")
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
