"""Rows in JSON: one object per line or after another, an array of objects, or an object that holds them."""

import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from secateur.errors import DataError
from secateur.readers.encodings import open_text
from secateur.readers.json_shapes import holds_rows, likely_rows, rows_of
from secateur.readers.json_values import held, is_value, require_once, value_of, values_of
from secateur.readers.layout import Columns, require
from secateur.sources.compression import open_bytes

_SAMPLE_ROWS = 1000
_OF_PYTHON = re.compile(r"\s*\[?\s*\{'")
_Numbered = Iterator[tuple[str, dict[str, Any]]]


def read_json(path: Path, *, encoding: str, columns: Columns) -> dict[str, list[Any]]:
    """Read the columns of JSON Lines, of an array of objects, or of ``{"data": [...]}``; labels stay Python's values.

    A column may be absent in some rows, which have null there. ``a.b`` is the value b of an object a, and ``a.0`` the
    first of a list, where no column is called so.

    Raises:
        DataError: it is not JSON, not rows, a column is missing in all of them, stands twice in one, or a text is none.
    """
    values: dict[str, list[Any]] = {name: [] for name in columns.names}
    seen: dict[str, None] = {}
    for where, record in json_records(path, encoding=encoding, columns=columns):
        seen.update(dict.fromkeys(record))
        found = {name: _readable(held(record, name)) for name in columns.names}
        seen.update(dict.fromkeys(name for name, value in found.items() if value is not None))
        for name in columns.texts:
            words = found[name]
            if words is not None and not isinstance(words, str):
                raise DataError(f"{path.name} {where}: {name!r} holds {type(words).__name__}, not text")
        for name in columns.names:
            require_once(record, name, where=f"{path.name} {where}")
            values[name].append(found[name])
    require(columns, list(seen), name=path.name)
    return values


def json_records(path: Path, *, encoding: str, columns: Columns) -> _Numbered:
    """Yield the rows with where they are, for messages: of JSON Lines one after the other, else all are read before.

    Raises:
        DataError: it is not JSON, or not rows.
    """
    # Read here and not by pyarrow.json: labels may mix 1 and "1", and an error should name its line.
    with open_bytes(path) as raw, open_text(raw, encoding) as file:
        lines = iter(file)
        blank = 0
        for head in lines:
            if head.strip():
                break
            blank += 1
        else:
            return
        start = head.lstrip()[:1]
        if start != "[" and (start != "{" or _is_row(head, columns)):
            yield from _lines(chain([head], lines), first=blank + 1, name=path.name)
            return
        text = head + file.read()
    yield from _values(text, columns=columns, name=path.name)


def keys_of(path: Path, *, encoding: str, inner: bool = False) -> list[str]:
    """Return the names that the first rows have, or those of what lies in their objects (``a.b``), as they come.

    Raises:
        DataError: it is not JSON, or not rows.
    """
    found = (name for record in _sample(path, encoding) for name in (_names_in(record) if inner else record))
    return list(dict.fromkeys(found))


def _names_in(record: dict[str, Any], before: str = "") -> Iterator[str]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from (f"{before}{name}.{key}" for key in value)
            yield from _names_in(value, f"{before}{name}.")


def _sample(path: Path, encoding: str) -> Iterator[dict[str, Any]]:
    with open_bytes(path) as raw, open_text(raw, encoding) as file:
        text = file.read()
    rows = islice(_first_rows(text, name=path.name), _SAMPLE_ROWS)
    return (record for record in rows if isinstance(record, dict))


def _first_rows(text: str, *, name: str) -> Iterator[Any]:
    """Yield what could be rows, without knowing a column."""
    try:
        value = value_of(text)
    except (ValueError, RecursionError) as error:
        if is_value(text.lstrip().split("\n", 1)[0]):
            yield from (record for _, record in _lines(text.split("\n"), name=name))
        else:
            yield from _one_after_another(text, name=name, otherwise=error)
        return
    yield from likely_rows(value, name=name)


def _values(text: str, *, columns: Columns, name: str) -> _Numbered:
    """Yield the rows of a whole file that is one value, or several of them, in lines or not."""
    rows: Iterable[Any]
    try:
        rows = rows_of(value_of(text), columns=columns, name=name)
    except (ValueError, RecursionError) as error:
        # Not one value: then lines, whose first bad one is named, or values that take several lines.
        if is_value(text.lstrip().split("\n", 1)[0]):
            yield from _lines(text.split("\n"), name=name)
            return
        rows = _one_after_another(text, name=name, otherwise=error)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{name} row {number} is a JSON {type(row).__name__}; each row must be an object")
        yield f"row {number}", row


def _one_after_another(text: str, *, name: str, otherwise: Exception) -> Iterator[Any]:
    """Yield rows as ``jq`` prints them.

    Raises:
        DataError: something is no value; of the first, what reading the whole has said.
    """
    count = 0
    try:
        for value in values_of(text):
            count += 1
            yield value
    except (ValueError, RecursionError) as error:
        said = f"{name} row {count + 1} is not JSON: {error}" if count else f"{name} is not JSON: {otherwise}"
        if _OF_PYTHON.match(text):
            said += "; it looks like what print() shows of Python's values, and json.dumps writes them as JSON"
        raise DataError(said) from error


def _is_row(line: str, columns: Columns) -> bool:
    """Tell whether a line is an object of its own, and not one that holds all rows."""
    try:
        value = value_of(line)
    except (ValueError, RecursionError):
        return False
    if not isinstance(value, dict):
        return True
    words = held(value, columns.text)
    return not isinstance(words, list | dict) and (words is not None or not holds_rows(value))


def _lines(lines: Iterable[str], *, name: str, first: int = 1) -> _Numbered:
    for number, line in enumerate(lines, start=first):
        if not line.strip():
            continue
        try:
            record = value_of(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{name} line {number} is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise DataError(f"{name} line {number} is a JSON {type(record).__name__}; each line must be an object")
        yield f"line {number}", record


def _readable(value: Any) -> Any:
    """Return a value all of whose texts can be written."""
    if isinstance(value, str):
        return value if value.isascii() else without_surrogates(value)
    if isinstance(value, list):
        return [_readable(one) for one in value]
    if isinstance(value, dict):
        return {_readable(name): _readable(one) for name, one in value.items()}
    return value


def without_surrogates(text: str) -> str:
    r"""Join escaped pairs, and replace halves (``"\ud83d"``), which no encoding can write."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
