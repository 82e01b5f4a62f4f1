"""Labels as a table holds them: one per cell, several in a cell, or a column of 0 and 1 for each."""

import ast
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any, TypeAlias

import pyarrow as pa

from secateur.errors import DataError
from secateur.readers.label_sets import as_set
from secateur.readers.labels import SeveralLabels, canonical_labels
from secateur.readers.layout import Columns

_LIST = re.compile(r"\s*\[.*\]\s*", re.DOTALL)
_NO_COMMA = re.compile(r"""['"]\s+['"]""")
_FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
SEPARATORS = ("|", ";", ",")
_RARER = ("/", "+", "&")
_NUMBERS = re.compile(r"[\d\s.,;|%+-]*")

Values: TypeAlias = Sequence[Any] | pa.ChunkedArray


def labels_of(raw: Mapping[str, Values], columns: Columns, *, separator: str | None) -> pa.Array:
    """Return the label of every row, or the set of its labels (``label_sets``); null where it is not known.

    Args:
        raw: name of a column -> a value per row.
        columns: which of them hold labels, and whether rows have several.
        separator: stands between the labels of a cell; None = a cell holds one, or a list.

    Raises:
        DataError: a cell holds something else.
    """
    if columns.label is None:
        return pa.nulls(len(raw[columns.text]), pa.string())
    if columns.more:
        return _flagged({name: raw[name] for name in columns.labels})
    if not columns.sets:
        values = raw[columns.label]
        name = columns.label
        return canonical_labels(_alone(values, name=name) if are_lists(values) else values, name=name)
    return _listed(_plain(raw[columns.label]), name=columns.label, separator=separator)


def are_lists(values: Values) -> bool:
    """Tell whether cells are lists, or texts that JSON or Python wrote of some, wherever anything stands in them."""
    if isinstance(values, pa.ChunkedArray):
        if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
            return True
        if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
            return False
    cells = (value for value in _plain(values) if not _is_empty(value))
    first = next(cells, None)
    return first is not None and all(_is_list(value) for value in chain([first], cells))


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, str) and _LIST.fullmatch(value) is not None)


def _alone(values: Values, *, name: str) -> Sequence[Any]:
    """Return the label of each list, None where it is empty.

    Raises:
        SeveralLabels: a list holds more, or its labels cannot be told apart.
    """
    alone: list[Any] = []
    for value in _plain(values):
        if isinstance(value, str):
            _require_commas(value, name=name)
        cell = () if _is_empty(value) else _as_list(value) if isinstance(value, str) else value
        if not isinstance(cell, list | tuple) or len(cell) > 1:
            raise SeveralLabels(name)
        alone.append(cell[0] if cell else None)
    return alone


def _plain(values: Values) -> Sequence[Any]:
    found: Sequence[Any] = values.to_pylist() if isinstance(values, pa.ChunkedArray) else values
    return found


def _listed(values: Sequence[Any], *, name: str, separator: str | None) -> pa.Array:
    """Read cells that hold a set each; an empty one holds none."""
    cells = [_items(value, name=name, separator=separator) for value in values]
    _require_names(cells, name=name)
    ends = list(accumulate(map(len, cells)))
    flat = canonical_labels([item for cell in cells for item in cell], name=name).to_pylist()
    sets = (flat[end - len(cell) : end] for end, cell in zip(ends, cells, strict=True))
    return pa.array([as_set(label for label in found if label is not None) for found in sets], pa.string())


def _require_names(cells: Sequence[Sequence[Any]], *, name: str) -> None:
    """Refuse lists that do not name labels: places of labels as 0 and 1, and parts of texts with their labels.

    Raises:
        DataError: saying what would work.
    """
    if any(isinstance(item, list | tuple | dict) for cell in cells for item in cell):
        raise DataError(
            f"label column {name!r} holds lists in lists, as labels of words or passages are written; a list of names, "
            "of what the whole text is about, would work"
        )
    widths = {len(cell) for cell in cells if cell}
    if len(widths) == 1 and min(widths) > 1 and all(str(item).casefold() in _FLAGS for cell in cells for item in cell):
        raise DataError(
            f"label column {name!r} holds lists of {min(widths)} zeros and ones, one for each label, and nothing says "
            "how these are called: write a column of 0 and 1 for each, or lists of the names"
        )


def _items(value: Any, *, name: str, separator: str | None) -> list[Any]:
    if isinstance(value, str):
        if (found := _read_list(value, name=name)) is not None:
            return found
        return [*value.split(separator)] if separator else [value]
    return [*value] if isinstance(value, list | tuple) else [value]


def _read_list(text: str, *, name: str) -> list[Any] | None:
    """Return what a cell of text says where it is a list, which JSON or Python wrote; None where it is none."""
    if _LIST.fullmatch(text) is None:
        return None
    _require_commas(text, name=name)
    if (found := _as_list(text)) is not None:
        return found
    raise DataError(
        f"label column {name!r} holds {text.strip()[:60]!r}: the labels of a list stand in quotes, as in "
        '["sales", "returns"]'
    )


def _require_commas(text: str, *, name: str) -> None:
    """Refuse a list as numpy prints it, of which Python would make one word."""
    if _NO_COMMA.search(text):
        raise DataError(f"label column {name!r} holds {text[:60]!r}: a list needs commas between its labels")


def _as_list(text: str) -> list[Any] | None:
    """Return the list that JSON or Python wrote as a text; None where it is none."""
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list):
            return found
    return None


def _flagged(columns: Mapping[str, Values]) -> pa.Array:
    """Read columns that say of a label each, which is called like them, whether a row has it."""
    flags = {name: _flags(values, name=name) for name, values in columns.items()}
    names = [name.strip() for name in flags]
    return pa.array(
        [
            None if None in row else as_set(name for name, has in zip(names, row, strict=True) if has)
            for row in zip(*flags.values(), strict=True)
        ],
        pa.string(),
    )


def _flags(values: Values, *, name: str) -> list[bool | None]:
    said = canonical_labels(values, name=name).to_pylist()
    wrong = next((value for value in said if value is not None and value.casefold() not in _FLAGS), None)
    if wrong is not None:
        raise DataError(
            f"label column {name!r} holds {wrong[:60]!r}; of several label columns each holds 0 and 1 (false, true)"
        )
    return [None if value is None else _FLAGS[value.casefold()] for value in said]


def likely_separator(labels: Iterable[str | None]) -> str | None:
    """Return what stands between the labels of cells where they very likely hold several; None where they do not.

    Each part of a joined cell then stands in another cell as well, none twice in one, there are fewer parts than
    different cells, and cells hold different numbers of them: "Sales, Marketing" may be the name of one department,
    "sales|returns" beside "returns" is none, and neither are surnames with first names. Numbers are none: "1,5" is one.
    """
    cells = {label for label in labels if label is not None}
    return None if all(_NUMBERS.fullmatch(cell) for cell in cells) else _between(cells, SEPARATORS)


def possible_separator(labels: Iterable[str | None]) -> tuple[str, str] | None:
    """Return what may stand between the labels of cells that are taken as they are, and the first such cell.

    Numbers with a comma may be lists of codes, or numbers; a slash may join two labels, or the words of one.
    """
    cells = {label for label in labels if label is not None}
    signs: Sequence[str] = SEPARATORS if all(map(_NUMBERS.fullmatch, cells)) else _RARER
    if all(word.startswith("#") for cell in cells for word in cell.split()):
        signs = (" ",)
    sign = _between(cells, signs)
    return None if sign is None else (sign, min(cell for cell in cells if sign in cell))


def _between(cells: Collection[str], signs: Sequence[str]) -> str | None:
    """Return the first sign whose parts are labels as ``likely_separator`` says."""
    for sign in signs:
        parts = {cell: [part.strip() for part in cell.split(sign)] for cell in cells}
        joined = [found for found in parts.values() if len(found) > 1]
        seen = Counter(part for found in parts.values() for part in set(found))
        each = all(part and seen[part] > 1 for found in joined for part in found)
        varies = len({len(found) for found in parts.values()}) > 1
        once = all(len({*found}) == len(found) for found in joined)
        if joined and each and varies and once and len(seen) < len(cells):
            return sign
    return None
