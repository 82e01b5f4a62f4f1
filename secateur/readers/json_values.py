"""Values of JSON as they were written: names that stand twice are known, and one inside another has a name."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from secateur.errors import DataError

_BLANK = re.compile(r"\s*")


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


def value_of(text: str) -> Any:
    """Return the one value that a text holds.

    Raises:
        ValueError, RecursionError: it holds none, or more.
    """
    return _DECODER.decode(text)


def values_of(text: str) -> Iterator[Any]:
    """Yield values that stand one after another, whatever lines they take.

    Raises:
        ValueError, RecursionError: what stands behind the last one is none.
    """
    at = _BLANK.match(text).end()  # type: ignore[union-attr]  # it always fits
    while at < len(text):
        value, at = _DECODER.raw_decode(text, at)
        at = _BLANK.match(text, at).end()  # type: ignore[union-attr]
        yield value


def is_value(text: str) -> bool:
    """Tell whether a text is one value."""
    try:
        value_of(text)
    except (ValueError, RecursionError):
        return False
    return True


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


def held(record: Mapping[str, Any], name: str) -> Any:
    """Return the value of a column: ``a.b`` is the value b of an object a, ``a.0`` the first of a list; or None."""
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
