"""Tables in Excel and OpenDocument workbooks: which sheet is meant, and in which of its rows the columns have names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from secateur.errors import DataError
from secateur.readers.layout import Columns, Layout, require
from secateur.readers.workbook_cells import Cell, Moment, Sheet, read_sheets
from secateur.readers.workbook_errors import address

_HEADER_ROWS = 50
"""How far down a header is looked for: above it stand titles and dates."""
_MAX_NAMED = 5


@dataclass(frozen=True)
class WorkbookTable:
    """The table that was found.

    Attributes:
        header: names of the columns.
        rows: cells of every row that is not blank, as wide as the header.
        remarks: what a person should know about it.
    """

    header: list[str]
    rows: list[Sequence[Cell]]
    remarks: tuple[str, ...]

    def column(self, name: str) -> list[str | int | float | bool | None]:
        """Return the values of a column; moments as text."""
        place = self.header.index(name)
        return [value.said if isinstance(value := row[place], Moment) else value for row in self.rows]


def read_workbook(path: Path, *, columns: Columns, layout: Layout) -> WorkbookTable:
    """Read the sheet that ``layout`` names, else the first that has the columns, those that are shown before others.

    The header is the first row that has the columns. Numbers among texts become texts.

    Raises:
        DataError: no sheet has the columns, texts are numbers, labels are dates, or the file cannot be read.
    """
    sheets = _asked(read_sheets(path), layout, name=path.name)
    found = next(((sheet, place) for sheet in sheets if (place := _place(sheet, columns, layout)) is not None), None)
    sheet, place = found or (sheets[0], _likely_place(sheets[0], layout))
    where = f"{path.name}, sheet {sheet.name!r}"
    header, rows = _table(sheet, place)
    require(columns, header, name=where if found or not sheets[1:] else f"{where} (or {_listed(sheets[1:])})")
    remarks = (*_remarks(sheet, sheets, place=place, name=path.name), *_of_errors(sheet, columns, place, where=where))
    table = WorkbookTable(header, rows, remarks)
    if rows:
        _check_values(table, columns, where=where)
    for column in columns.texts:
        table = _with_texts(table, column, where=where)
    return table


def workbook_names(path: Path, layout: Layout) -> list[str]:
    """Return the names of the columns: of the sheet that ``layout`` names, else of the one with most rows.

    Raises:
        DataError: it cannot be read, or holds nothing.
    """
    sheets = _asked(read_sheets(path), layout, name=path.name)
    sheet = max(sheets, key=lambda one: len(one.rows))
    return _table(sheet, _likely_place(sheet, layout))[0]


def _asked(sheets: Sequence[Sheet], layout: Layout, *, name: str) -> list[Sheet]:
    """Return the sheet that is named, by its name or its number from 1, else all that hold something."""
    filled = [sheet for sheet in sheets if any(map(_is_filled, sheet.rows))]
    if not filled:
        raise DataError(f"{name} has no sheet with a filled cell")
    if layout.sheet is None:
        return sorted(filled, key=lambda sheet: sheet.hidden)
    by_number = {str(number): sheet for number, sheet in enumerate(sheets, start=1)}
    named = {**by_number, **{sheet.name: sheet for sheet in sheets}}.get(layout.sheet)
    if named is None or named not in filled:
        why = "no sheet" if named is None else "nothing in the sheet"
        raise DataError(f"{name} has {why} {layout.sheet!r} (ingest.sheet); its filled sheets are {_listed(filled)}")
    return [named]


def _place(sheet: Sheet, columns: Columns, layout: Layout) -> int | None:
    """Return the place of the row that names the columns; -1 where they are numbers, None where there is none."""
    wanted = {*columns.names}
    if not layout.header:
        return -1 if wanted <= {str(number) for number in range(len(sheet.rows[0]))} else None
    for place, row in enumerate(sheet.rows[:_HEADER_ROWS]):
        if wanted <= {_named(value) for value in row}:
            return place
    return None


def _likely_place(sheet: Sheet, layout: Layout) -> int:
    """Return the place of the first row of which more than half is filled, -1 where there is no header."""
    widths = [sum(value is not None for value in row) for row in sheet.rows[:_HEADER_ROWS]]
    return next(place for place, width in enumerate(widths) if 2 * width > max(widths)) if layout.header else -1


def _table(sheet: Sheet, place: int) -> tuple[list[str], list[Sequence[Cell]]]:
    """Return header and rows; columns without a name and a value are none."""
    rows = [row for row in sheet.rows[place + 1 :] if _is_filled(row)]
    if place < 0:
        return [str(number) for number in range(len(sheet.rows[0]))], rows
    names = [_named(value) for value in sheet.rows[place]]
    kept = [column for column, name in enumerate(names) if name or any(row[column] is not None for row in rows)]
    return [names[column] for column in kept], [[row[column] for column in kept] for row in rows]


def _remarks(sheet: Sheet, sheets: Sequence[Sheet], *, place: int, name: str) -> Iterator[str]:
    if any(map(_is_filled, sheet.rows[: max(0, place)])):
        yield f"{name}: the columns have their names in row {sheet.first + place}; what stands above is left out"
    if others := [other for other in sheets if other is not sheet]:
        yield f"{name}: the sheet {sheet.name!r} was read and no other ({_listed(others)}); ingest.sheet names one"


def _of_errors(sheet: Sheet, columns: Columns, place: int, *, where: str) -> Iterator[str]:
    """Say how many cells of the columns that are asked for hold an error in place of a value."""
    names = {sheet.left + column: _named(value) for column, value in enumerate(sheet.rows[place] if place >= 0 else ())}
    if place < 0:
        names = {sheet.left + column: str(column) for column in range(len(sheet.rows[0]))}
    below = sheet.first + place
    found = [(row, column) for row, column in sheet.errors if row >= below and names.get(column) in columns.names]
    if found:
        which = "1 cell holds" if len(found) == 1 else f"{len(found)} cells hold"
        yield (
            f"{where}: {which} an error (#N/A, #REF! and the like) in the columns that are read, and count as empty "
            f"(first: {address(*found[0])})"
        )


def _check_values(table: WorkbookTable, columns: Columns, *, where: str) -> None:
    """Refuse a column in which nothing stands, and labels that are dates.

    Raises:
        DataError: naming the column.
    """
    for name in (*columns.texts, *columns.labels):
        if all(row[table.header.index(name)] is None for row in table.rows):
            raise DataError(
                f"{where}: column {name!r} is empty; where formulas stand in it, a spreadsheet program has to compute "
                "and save them"
            )
    for label in columns.labels:
        place = table.header.index(label)
        date = next((value for row in table.rows if isinstance(value := row[place], Moment)), None)
        if date is None:
            continue
        raise DataError(
            f"{where}: label column {label!r} holds a date ({date.said}), which spreadsheet programs make of "
            "texts such as 1-2; format the column as text and write its labels again"
        )


def _with_texts(table: WorkbookTable, column: str, *, where: str) -> WorkbookTable:
    """Make texts of numbers and moments that stand among texts."""
    place = table.header.index(column)
    others = sum(not isinstance(row[place], str | None) for row in table.rows)
    if not others:
        return table
    if not any(isinstance(row[place], str) for row in table.rows):
        raise DataError(f"{where}: column {column!r} holds numbers or dates, not text")
    rows = [[*row[:place], _text(row[place]), *row[place + 1 :]] for row in table.rows]
    said = f"{where}: {others} of {len(rows)} texts are numbers or dates, and are read as text"
    return WorkbookTable(table.header, list(rows), (*table.remarks, said))


def _text(value: Cell) -> str | None:
    return None if value is None else value.said if isinstance(value, Moment) else str(value)


def _named(value: Cell) -> str:
    return (_text(value) or "").strip()


def _is_filled(row: Sequence[Cell]) -> bool:
    return any(value is not None for value in row)


def _listed(sheets: Sequence[Sheet]) -> str:
    named = [f"{sheet.name!r} ({sum(map(_is_filled, sheet.rows))} rows)" for sheet in sheets[:_MAX_NAMED]]
    return ", ".join(named) + (f" and {len(sheets) - _MAX_NAMED} more" if len(sheets) > _MAX_NAMED else "")
