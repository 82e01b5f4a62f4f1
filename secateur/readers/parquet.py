"""The columns that matter of a Parquet file: texts as text, whatever type they were written in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from secateur.errors import DataError
from secateur.readers.class_names import declared_classes
from secateur.readers.layout import Columns, require
from secateur.sources.compression import bare, open_bytes

_Types = pa.types


def read_parquet(path: Path, columns: Columns) -> tuple[dict[str, pa.ChunkedArray], list[str]]:
    """Read the columns by name, that of the texts as large strings; ``a.b`` is the field b of a column a of structs.

    Returns:
        The columns, and the names that the file declares for the numbers in that of the labels; none where it does not.

    Raises:
        DataError: it is no Parquet file, a column is missing, or texts are no text.
    """
    with _explained(path), _opened(path) as file:
        schema = file.schema_arrow
        held = [name for name in columns.names if name in schema.names]
        nested = {name: name.split(".") for name in columns.names if name not in held and _is_field(schema, name)}
        require(columns, [*schema.names, *nested], name=path.name)
        table = file.read(columns=[*held, *dict.fromkeys(steps[0] for steps in nested.values())])
        require_all(table.num_rows, file, name=path.name)
        found = {name: table[name] for name in held}
        found |= {name: pc.struct_field(table[steps[0]], steps[1:]) for name, steps in nested.items()}
        classes = declared_classes(schema.metadata).get(columns.label or "", [])
    found = {name: _as_text(values, column=name, file=path.name) for name, values in found.items()}
    for column in columns.texts:
        kind = found[column].type
        if not (_Types.is_large_string(kind) or _Types.is_null(kind)):
            raise DataError(f"{path.name}: column {column!r} holds {kind}, not text")
        found[column] = found[column].cast(pa.large_string())
    return found, classes if columns.label and _are_numbers(found[columns.label].type) else []


def require_all(num_rows: int, file: pq.ParquetFile, *, name: str) -> None:
    """Refuse a damaged file of which the library reads fewer rows than it counts, without a word.

    Raises:
        DataError: with both numbers.
    """
    counted = file.metadata.num_rows
    if num_rows != counted:
        raise DataError(f"{name} is damaged: {num_rows} of the {counted} rows that it counts can be read")


def parquet_names(path: Path, *, inner: bool = False) -> list[str]:
    """Return the names of the columns that are no structures, or those of what lies in these (``a.b``).

    Raises:
        DataError: it is no Parquet file.
    """
    with _explained(path), _opened(path) as file:
        schema = file.schema_arrow
        if inner:
            return [name for field in schema for name in _names_in(field.type, field.name)]
        return [field.name for field in schema if not _Types.is_struct(field.type)] or list(schema.names)


def classes_of(path: Path, column: str) -> list[str]:
    """Return the names that a file declares for the numbers in a column; none where it does not.

    Raises:
        DataError: it is no Parquet file.
    """
    with _explained(path), _opened(path) as file:
        return declared_classes(file.schema_arrow.metadata).get(column, [])


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    if bare(path) == path:
        with pq.ParquetFile(path) as file:
            yield file
        return
    with open_bytes(path) as raw, pq.ParquetFile(pa.BufferReader(raw.read())) as file:
        yield file


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as error:  # names of columns that are no text are decoded on the way
        raise DataError(f"{path.name} is not a Parquet file: {' '.join(str(error).split())[:200]}") from error


def _names_in(kind: pa.DataType, name: str) -> Iterator[str]:
    if _Types.is_struct(kind):
        for at in range(kind.num_fields):
            inner = f"{name}.{kind.field(at).name}"
            yield inner
            yield from _names_in(kind.field(at).type, inner)


def _is_field(schema: pa.Schema, name: str) -> bool:
    first, *rest = name.split(".")
    kind = schema.field(first).type if first in schema.names else None
    for step in rest:
        if kind is None or not _Types.is_struct(kind) or kind.get_field_index(step) < 0:
            return False
        kind = kind.field(step).type
    return bool(rest)


def _are_numbers(kind: pa.DataType) -> bool:
    """Tell whether a column holds whole numbers, or lists of them."""
    return bool(_Types.is_integer(kind.value_type if _Types.is_list(kind) or _Types.is_large_list(kind) else kind))


def _as_text(values: pa.ChunkedArray, *, column: str, file: str) -> pa.ChunkedArray:
    """Return strings of any type, and bytes that are UTF-8, as large strings; others as they are."""
    kind = values.type
    if _Types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    if _Types.is_string(kind) or _Types.is_large_string(kind) or _Types.is_string_view(kind):
        # A damaged page is a string of any bytes; as bytes they are looked at.
        values, kind = values.cast(pa.large_string()).cast(pa.large_binary()), pa.large_binary()
    if _Types.is_fixed_size_binary(kind) or _Types.is_binary_view(kind):
        values, kind = values.cast(pa.large_binary()), pa.large_binary()
    if _Types.is_binary(kind) or _Types.is_large_binary(kind):
        try:
            return values.cast(pa.large_string())
        except pa.ArrowInvalid as error:
            raise DataError(f"{file}: column {column!r} holds bytes that are not UTF-8; write it as text") from error
    return values
