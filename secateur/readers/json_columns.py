"""Columns of values that have no type of their own: those of JSON and of workbooks, in the simplest that holds them."""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from secateur.readers.json_rows import without_surrogates

JSON_TEXT = b"json"
"""Marks a column of strings that hold JSON, because its values are of several types, or of none that is simple."""

_INT64 = 1 << 63
_TYPES = {
    frozenset({bool}): pa.bool_(),
    frozenset({int}): pa.int64(),
    frozenset({float}): pa.float64(),
    frozenset({int, float}): pa.float64(),
    frozenset({str}): pa.string(),
    frozenset[type](): pa.string(),
}


def kind_of(value: Any) -> type:
    """Return the type of a value; ``object`` for a whole number that 64 bits cannot hold."""
    if isinstance(value, int) and not isinstance(value, bool) and not -_INT64 <= value < _INT64:
        return object
    return type(value)


def field_of(name: str, kinds: frozenset[type]) -> pa.Field:
    """Return the field of a column with values of these kinds, and null."""
    if kinds in _TYPES:
        return pa.field(name, _TYPES[kinds])
    return pa.field(name, pa.string(), metadata={JSON_TEXT: b"1"})


def column_of(field: pa.Field, values: Sequence[Any]) -> pa.Array:
    """Return values as a column of the type that ``field_of`` has found for them."""
    if JSON_TEXT in (field.metadata or {}):
        values = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
    if field.type == pa.string():
        values = [value if value is None or value.isascii() else without_surrogates(value) for value in values]
    return pa.array(values, field.type)


def simple_column(values: Sequence[Any]) -> pa.Array:
    """Return simple values as a column; those of several types as text."""
    kinds = frozenset(kind_of(value) for value in values if value is not None)
    kind = _TYPES.get(kinds)
    return pa.array(values if kind else [None if v is None else str(v) for v in values], kind or pa.string())
