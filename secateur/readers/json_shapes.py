"""Where the rows are in a value of JSON that holds all of them: the forms that programs write."""

from collections.abc import Mapping, Sequence
from typing import Any

from secateur.errors import DataError
from secateur.readers.json_values import Repeated, held, require_once
from secateur.readers.layout import Columns, require

_MAX_NAMED = 5


def holds_rows(value: Mapping[str, Any]) -> bool:
    """Tell whether an object may hold all rows."""
    return bool(_inside(value) or _deeper(value)) or _is_split(value) or _is_indexed(value)


def rows_of(value: Any, *, columns: Columns, name: str) -> list[Any]:
    """Return the rows of a whole file: an array, columns of values, or an object with one array of objects.

    Raises:
        DataError: it holds none, or several arrays of them.
    """
    if isinstance(value, list):
        return value
    for inner in (value, *(value.get(column) for column in columns.names)) if isinstance(value, dict) else ():
        if isinstance(inner, Repeated):  # columns, or rows by their index
            require_once(inner, min(inner.twice), where=name)
    if isinstance(value, dict):
        if isinstance(value.get(columns.text), list | dict):
            return _of_columns(value, columns=columns, name=name)
        if _is_split(value):
            return [dict(zip(value["columns"], row, strict=False)) for row in value["data"]]
        if held(value, columns.text) is not None:
            return [value]
        deeper = _deeper(value)
        told = any(held(row, columns.text) is not None for row in deeper)
        if inside := _inside(value) or ({"": deeper} if told else {}):
            return _only(inside, name=name)
        if _is_indexed(value):
            return list(value.values())  # by their index, as pandas can write them
    raise DataError(
        f"{name} holds no rows: expected an array of objects, an object with one such array, or an object per line"
    )


def likely_rows(value: Any, *, name: str) -> Sequence[Any]:
    """Return what could be rows, without knowing a column; of columns an object with their names.

    Raises:
        DataError: there are several arrays of them.
    """
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        return [value]
    if _is_split(value):
        return [dict.fromkeys(map(str, value["columns"]))]
    if inside := _inside(value):
        return _only(inside, name=name)
    if len(deeper := _deeper(value)) > len(value):
        return deeper
    return [*value.values()] if _is_indexed(value) and not _are_columns(value) else [value]


def _inside(value: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the lists of objects that an object holds, by their names."""
    return {key: rows for key, rows in value.items() if isinstance(rows, list) and rows and isinstance(rows[0], dict)}


def _deeper(value: Mapping[str, Any]) -> list[Any]:
    """Return the one list of objects that an object in it holds: servers answer ``{"response": {"docs": [...]}}``."""
    found = [rows for inner in value.values() if isinstance(inner, dict) for rows in _inside(inner).values()]
    return [row for row in found[0] if isinstance(row, dict)] if len(found) == 1 else []


def _only(inside: Mapping[str, list[Any]], *, name: str) -> list[Any]:
    if len(inside) > 1:
        listed = ", ".join(
            f"{key} ({len(rows)} row{'' if len(rows) == 1 else 's'})" for key, rows in [*inside.items()][:_MAX_NAMED]
        )
        more = f" and {len(inside) - _MAX_NAMED} more" if len(inside) > _MAX_NAMED else ""
        raise DataError(f"{name} holds several arrays of objects: {listed}{more}; save each as a file of its own")
    return next(iter(inside.values()))


def _is_split(value: Mapping[str, Any]) -> bool:
    """Tell whether an object has its rows under ``data`` and their names under ``columns``, as pandas can write it."""
    return isinstance(value.get("columns"), list) and isinstance(value.get("data"), list)


def _is_indexed(value: Mapping[str, Any]) -> bool:
    """Tell whether an object holds nothing but objects, of which there are several: rows by their index."""
    return len(value) > 1 and all(isinstance(row, dict) for row in value.values())


def _are_columns(value: Mapping[str, Mapping[str, Any]]) -> bool:
    """Tell whether objects in an object are columns, whose values have numbers, and not rows."""
    return not any(map(str.isdecimal, value)) and all(map(str.isdecimal, next(iter(value.values()))))


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

    columns_held = {column: values for column, values in value.items() if is_column(values)}
    if not set(columns.names) <= set(columns_held):
        raise DataError(f"{name}: the columns {', '.join(columns.names)} do not have the same rows")
    in_order = texts if isinstance(texts, dict) else keys
    return [{column: values[key] for column, values in columns_held.items()} for key in in_order]
