"""What ``ingest.query`` may be, and what becomes of the values of its answer, whatever database is asked."""

import math
import re
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Any

from secateur.errors import DataError
from secateur.readers.layout import Columns

TIP = "it takes one SELECT, which changes nothing and calls no random()"
"""What it is, for messages."""

_MAX_NAMED = 8

_NO_CODE = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)


def code_of(query: str) -> str:
    """Return a query without its texts and comments."""
    return _NO_CODE.sub(" ", query)


def by_chance(query: str, functions: Collection[str]) -> str | None:
    """Return the name of one of some functions that a query calls, or a sample of a table; None where it does not."""
    called = {name.lower() for name in re.findall(r"\b(\w+)\s*\(", code_of(query))}
    found = next((name for name in sorted(functions) if name.lower() in called), None)
    sampled = re.search(r"\b(tablesample|using\s+sample)\b", code_of(query), re.IGNORECASE)
    return found or (sampled[0].lower() if sampled else None)


def json_value(value: Any) -> Any:
    """Return a value as JSON has it; one that is none of its types (a date, an address) as text. Bytes stay bytes."""
    if isinstance(value, Decimal):
        if not value.is_finite():
            return str(value)
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return [json_value(entry) for entry in value]
    if isinstance(value, dict):
        return {str(name): json_value(entry) for name, entry in value.items()}
    return value if isinstance(value, str | int | float | bool | bytes | None) else str(value)


def require_plain_values(values: Iterable[Any], *, column: str, columns: Columns, name: str) -> None:
    """Refuse bytes, and texts that are none, in a column.

    Raises:
        DataError: naming the column.
    """
    is_text = column in columns.texts
    for value in values:
        if isinstance(value, bytes) or (is_text and not isinstance(value, str | None)):
            raise DataError(
                f"{name}: column {column!r} holds {type(value).__name__}, not text; CAST({column} AS TEXT) makes text "
                "of it"
            )


def named_tables(tables: Sequence[str]) -> str:
    """Return the first names of tables, for messages."""
    named = ", ".join(tables[:_MAX_NAMED]) or "none"
    return named + (f" and {len(tables) - _MAX_NAMED} more" if len(tables) > _MAX_NAMED else "")


def short(error: BaseException) -> str:
    """Return what a database says, on one line."""
    return " ".join(str(error).split())[:200]
