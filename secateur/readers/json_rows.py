"""Rows in JSON: one object per line, an array of objects, or an object that holds them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from secateur.errors import DataError
from secateur.readers.compression import open_bytes
from secateur.readers.encodings import open_text
from secateur.readers.layout import Columns, require

_SAMPLE_ROWS = 1000
_Numbered = Iterator[tuple[str, dict[str, Any]]]


class Repeated(dict[str, Any]):
    """An object that names something twice with different values: JSON allows it, and nobody knows which is meant.

    Attributes:
        twice: such names.
    """

    def __init__(self, values: dict[str, Any], twice: frozenset[str]) -> None:
        """Take the last value of every name, as Python does, and the names that have another one."""
        super().__init__(values)
        self.twice = twice


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    # A value may be of a kind that equals others (True and 1), which is how it was written, too.
    twice = frozenset(name for name, value in pairs if json.dumps(value) != json.dumps(found[name]))
    return Repeated(found, twice) if twice else found


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def require_once(record: Mapping[str, Any], name: str, *, where: str) -> None:
    """Refuse a row that has two values under one name.

    Args:
        record: the row.
        name: of a column, perhaps inside an object.
        where: the row stands, for the message.

    Raises:
        DataError: naming the row.
    """
    value: Any = record
    for step in _steps(record, name):
        if isinstance(value, Repeated) and step in value.twice:
            raise DataError(f"{where} has two different values under {step!r}; leave one of them")
        value = _inner(value, step)


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
        found = {name: _held(record, name) for name in columns.names}
        seen.update(dict.fromkeys(name for name, value in found.items() if value is not None))
        for name in columns.texts:
            words = found[name]
            if words is not None and not isinstance(words, str):
                raise DataError(f"{path.name} {where}: {name!r} holds {type(words).__name__}, not text")
            if words is not None and not words.isascii():
                found[name] = without_surrogates(words)
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


def _held(record: Mapping[str, Any], name: str) -> Any:
    value: Any = record
    for step in _steps(record, name):
        value = _inner(value, step)
    return value


def _steps(record: Mapping[str, Any], name: str) -> list[str]:
    """Return the way to a value: the name of a column, or what leads through objects and lists."""
    return [name] if name in record else name.split(".")


def _inner(value: Any, step: str) -> Any:
    if isinstance(value, dict):
        return value.get(step)
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    return None


def keys_of(path: Path, *, encoding: str) -> list[str]:
    """Return the names that the first rows have, in the order in which they come.

    Raises:
        DataError: it is not JSON, or not rows.
    """
    with open_bytes(path) as raw, open_text(raw, encoding) as file:
        text = file.read()
    found: dict[str, None] = {}
    for record in islice(_first_rows(text, name=path.name), _SAMPLE_ROWS):
        if isinstance(record, dict):
            found.update(dict.fromkeys(record))
    return list(found)


def _first_rows(text: str, *, name: str) -> Iterator[Any]:
    """Yield what could be rows, without knowing a column."""
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        yield from (record for _, record in _lines(text.split("\n"), name=name))
        return
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict) and _is_split(value):
        yield dict.fromkeys(map(str, value["columns"]))
    elif isinstance(value, dict) and len(inside := _inside(value)) == 1:
        yield from inside[0]
    else:
        yield value


def _values(text: str, *, columns: Columns, name: str) -> _Numbered:
    """Yield the rows of a whole file that is one value, or several of them in lines."""
    start = text.lstrip()[:1]
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        # Not one value: then lines, whose first bad one is named.
        if start == "[" or not _is_json(text.lstrip().split("\n", 1)[0]):
            raise DataError(f"{name} is not JSON: {error}") from error
        yield from _lines(text.split("\n"), name=name)
        return
    for number, row in enumerate(_rows_of(value, columns=columns, name=name), start=1):
        if not isinstance(row, dict):
            raise DataError(f"{name} row {number} is a JSON {type(row).__name__}; each row must be an object")
        yield f"row {number}", row


def _is_json(line: str) -> bool:
    try:
        _DECODER.decode(line)
    except (ValueError, RecursionError):
        return False
    return True


def _is_row(line: str, columns: Columns) -> bool:
    """Tell whether a line is an object of its own, and not one that holds all rows."""
    try:
        value = _DECODER.decode(line)
    except (ValueError, RecursionError):
        return False
    if not isinstance(value, dict):
        return True
    words = _held(value, columns.text)
    holds_rows = _inside(value) or _is_split(value) or _is_indexed(value)
    return not isinstance(words, list | dict) and (words is not None or not holds_rows)


def _inside(value: Mapping[str, Any]) -> list[list[Any]]:
    """Return the lists of objects that an object holds."""
    return [held for held in value.values() if isinstance(held, list) and held and isinstance(held[0], dict)]


def _is_split(value: Mapping[str, Any]) -> bool:
    """Tell whether an object has its rows under ``data`` and their names under ``columns``, as pandas can write it."""
    return isinstance(value.get("columns"), list) and isinstance(value.get("data"), list)


def _is_indexed(value: Mapping[str, Any]) -> bool:
    """Tell whether an object holds nothing but objects, of which there are several: rows by their index."""
    return len(value) > 1 and all(isinstance(row, dict) for row in value.values())


def _rows_of(value: Any, *, columns: Columns, name: str) -> list[Any]:
    """Return the rows of a whole file: an array, columns of values, or an object with one array of objects."""
    if isinstance(value, list):
        return value
    for held in (value, *(value.get(column) for column in columns.names)) if isinstance(value, dict) else ():
        if isinstance(held, Repeated):  # columns, or rows by their index
            require_once(held, min(held.twice), where=name)
    if isinstance(value, dict):
        if isinstance(value.get(columns.text), list | dict):
            return _of_columns(value, columns=columns, name=name)
        if _is_split(value):
            return [dict(zip(value["columns"], row, strict=False)) for row in value["data"]]
        if _held(value, columns.text) is not None:
            return [value]
        if len(inside := _inside(value)) == 1:
            return inside[0]
        if _is_indexed(value):
            return list(value.values())  # by their index, as pandas can write them
    raise DataError(
        f"{name} holds no rows: expected an array of objects, an object with one such array, or an object per line"
    )


def _of_columns(value: Mapping[str, Any], *, columns: Columns, name: str) -> list[dict[str, Any]]:
    """Turn ``{"text": {"0": ...}, "label": {"0": ...}}`` or ``{"text": [...], "label": [...]}`` into rows."""
    require(columns, list(value), name=name)
    texts = value[columns.text]
    keys = set(texts) if isinstance(texts, dict) else range(len(texts))

    def is_column(values: Any) -> bool:
        """Tell whether there is a value for each text."""
        if type(values) is not type(texts):
            return False
        return set(values) == keys if isinstance(texts, dict) else len(values) == len(texts)

    held = {column: values for column, values in value.items() if is_column(values)}
    if not set(columns.names) <= set(held):
        raise DataError(f"{name}: the columns {', '.join(columns.names)} do not have the same rows")
    in_order = texts if isinstance(texts, dict) else keys
    return [{column: values[key] for column, values in held.items()} for key in in_order]


def _lines(lines: Iterable[str], *, name: str, first: int = 1) -> _Numbered:
    for number, line in enumerate(lines, start=first):
        if not line.strip():
            continue
        try:
            record = _DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{name} line {number} is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise DataError(f"{name} line {number} is a JSON {type(record).__name__}; each line must be an object")
        yield f"line {number}", record


def without_surrogates(text: str) -> str:
    r"""Join escaped pairs, and replace halves (``"\ud83d"``), which no encoding can write."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
