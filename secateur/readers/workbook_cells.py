"""The cells of an Excel or OpenDocument workbook, read by calamine in a process of its own.

The library is compiled, and a damaged workbook can end the process that reads it (calamine 0.9: a broken ``.xls``
asks for 191 GB, or stops by a panic); here it ends a child, and becomes one line. What the child says is JSON.
"""

import datetime
import importlib.util
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.errors import DataError
from secateur.readers.workbook_errors import error_cells
from secateur.sources.compression import bare, open_bytes

_LIBRARY = "python_calamine"
_ZIP, _OLD = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_EXACT = 1 << 53
_DAMAGED = "save it anew with a spreadsheet program, or its sheet as CSV"


@dataclass(frozen=True)
class Moment:
    """A cell that holds a date, a time or a duration, as ISO 8601 or in words."""

    said: str


Cell = str | int | float | bool | Moment | None


@dataclass(frozen=True)
class Sheet:
    """One sheet.

    Attributes:
        name: of the sheet.
        hidden: whether a spreadsheet program shows it.
        first: number of the first row, from 1, as a spreadsheet program counts.
        rows: cells of the used area, all rows of one width, none where it is empty. A merged cell
            stands in each row that it spans.
        left: number of the first column, from 0.
        errors: row and column, from 0 in the whole sheet, of cells with an error, which are empty in ``rows``.
    """

    name: str
    hidden: bool
    first: int
    rows: Sequence[Sequence[Cell]]
    left: int = 0
    errors: Sequence[tuple[int, int]] = ()


def read_sheets(path: Path) -> list[Sheet]:
    """Return the sheets in their order.

    Raises:
        DataError: calamine is not installed, or the file is no workbook, protected by a password, or damaged.
    """
    if importlib.util.find_spec(_LIBRARY) is None:
        raise DataError(
            f"{path.name} is a workbook, which takes the package python-calamine (the extra excel of secateur): pip "
            "install python-calamine, or save the sheet as CSV"
        )
    if bare(path) == path:
        content = path.read_bytes()
    else:
        with open_bytes(path) as file:
            content = file.read()
    if not content.startswith((_ZIP, _OLD)):
        raise DataError(
            f"{path.name} is called like a workbook and is none, as some programs write text under such a name; set "
            "ingest.format to what it is (csv reads tabs, too), or save it as .xlsx"
        )
    done = subprocess.run([sys.executable, "-I", "-m", __name__], input=content, capture_output=True, check=False)
    if done.returncode != 0:
        raise DataError(f"{path.name} is damaged, or larger than this machine's memory: {_DAMAGED}")
    said = json.loads(done.stdout)
    if "error" in said:
        raise DataError(f"{path.name} cannot be read: {said['error']}")
    return [
        Sheet(name, hidden, first, [[_cell(value) for value in row] for row in rows], left, [(r, c) for r, c in errors])
        for name, hidden, first, rows, left, errors in said["sheets"]
    ]


def _cell(value: Any) -> Cell:
    return Moment(value[0]) if isinstance(value, list) else value


def _answer(content: bytes) -> dict[str, Any]:
    """Read a workbook, in the child: its sheets, or the reason why it cannot be read."""
    import python_calamine as calamine

    try:
        workbook = calamine.load_workbook(io.BytesIO(content))
        visible = calamine.SheetVisibleEnum.Visible
        sheets = [(workbook.get_sheet_by_name(seen.name), seen.visible != visible) for seen in workbook.sheets_metadata]
    except calamine.PasswordError:
        return {"error": "it is protected by a password; save it without one"}
    except calamine.CalamineError as error:
        if content.startswith(_OLD) and "EncryptedPackage".encode("utf-16-le") in content:
            return {"error": "it is protected by a password; save it without one"}
        return {"error": f"{' '.join(str(error).split())[:120]}; {_DAMAGED}"}
    errors = error_cells(content)
    return {"sheets": [_as_json(sheet, hidden, errors.get(sheet.name, ())) for sheet, hidden in sheets]}


def _as_json(sheet: Any, hidden: bool, errors: Sequence[tuple[int, int]]) -> list[Any]:
    top, left = sheet.start or (0, 0)
    rows = [[_plain(value) for value in row] for row in sheet.to_python()]
    for (first, column), (last, _) in sheet.merged_cell_ranges or ():
        spanned, place = rows[max(0, first - top) : max(0, last - top + 1)], column - left
        for row in spanned if 0 <= place < len(spanned[:1] and spanned[0]) else ():
            row[place] = spanned[0][place]
    return [sheet.name, hidden, top + 1, rows, left, errors]


def _plain(value: Any) -> Any:
    """Return a cell as JSON has it: whole numbers without a fraction, which a workbook does not tell apart."""
    if value == "":
        return None
    if isinstance(value, datetime.date | datetime.time):
        return [value.isoformat()]
    if isinstance(value, datetime.timedelta):
        return [str(value)]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_answer(sys.stdin.buffer.read())))
