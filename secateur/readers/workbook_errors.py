"""Cells of a workbook that hold an error (``#N/A``, ``#REF!``), which calamine gives out as empty ones.

Of .xlsx and .xlsm; what .xls, .xlsb and .ods hold of them is not counted.
"""

import io
import posixpath
import re
import zipfile
from xml.etree import ElementTree

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_WORKBOOK = "xl/workbook.xml"
_RELATIONS = "xl/_rels/workbook.xml.rels"
_ERROR = re.compile(rb"""<(?:\w+:)?c\b(?=[^>]*\st=["']e["'])[^>]*\sr=["']([A-Z]{1,3})([0-9]{1,7})["']""")
_LETTERS = 26


def error_cells(content: bytes) -> dict[str, list[tuple[int, int]]]:
    """Return name of a sheet -> row and column, from 0, of its cells with an error; nothing of other formats.

    Args:
        content: of the file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: _in_sheet(archive.read(part)) for name, part in _sheets(archive).items()}
    except (zipfile.BadZipFile, ElementTree.ParseError, KeyError, OSError):
        return {}  # whether it can be read at all, others say


def _sheets(archive: zipfile.ZipFile) -> dict[str, str]:
    if not {_WORKBOOK, _RELATIONS} <= set(archive.namelist()):
        return {}
    relations, book = (_parsed(archive.read(part)) for part in (_RELATIONS, _WORKBOOK))
    targets = {relation.get("Id"): relation.get("Target", "") for relation in relations}
    found = {}
    for sheet in book.iter(f"{_MAIN}sheet"):
        target = targets[sheet.get(_ID)]
        found[sheet.get("name", "")] = target.lstrip("/") if target.startswith("/") else posixpath.join("xl", target)
    return found


def _parsed(part: bytes) -> ElementTree.Element:
    # In a child that may die; expat bounds what entities become.
    return ElementTree.fromstring(part)  # noqa: S314


def _in_sheet(part: bytes) -> list[tuple[int, int]]:
    return [(int(row) - 1, _column(letters)) for letters, row in _ERROR.findall(part)]


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * _LETTERS + letter - ord("A") + 1
    return number - 1


def address(row: int, column: int) -> str:
    """Return how a spreadsheet program names a cell: ``B7`` for row 6 and column 1."""
    letters, number = "", column + 1
    while number:
        number, rest = divmod(number - 1, _LETTERS)
        letters = chr(ord("A") + rest) + letters
    return f"{letters}{row + 1}"
