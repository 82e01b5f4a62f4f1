"""Rows of any columns, written piece by piece as CSV, TSV, JSON Lines or Parquet."""

import csv
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from secateur.errors import DataError
from secateur.readers.json_columns import JSON_TEXT

Write = Callable[[pa.RecordBatch], None]

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
_PARQUET = (".parquet", ".pq")
_ROWS_PER_GROUP = 1 << 15


def require_writable(out: Path) -> None:
    """Refuse a file that is there already, and an ending that says no format.

    Raises:
        DataError: naming what would work.
    """
    known = (*_DELIMITERS, *_JSON_LINES, *_PARQUET)
    if out.exists():
        raise DataError(f"--out {out} exists already; name a new file")
    if out.suffix.lower() not in known:
        raise DataError(f"--out {out}: the ending says what is written; it must be one of {', '.join(known)}")


def require_columns(out: Path, schema: pa.Schema) -> None:
    """Refuse columns that the format of a file cannot hold.

    Raises:
        DataError: naming the column, and a format that can.
    """
    if out.suffix.lower() in _PARQUET:
        return
    binary = next((field.name for field in schema if _holds_binary(field.type)), None)
    if binary is not None:
        raise DataError(f"--out {out}: column {binary!r} holds bytes, which only .parquet can hold")


@contextmanager
def writing_rows(path: Path, schema: pa.Schema, *, ending: str) -> Iterator[Write]:
    """Yield what writes batches of rows, one behind the other.

    Args:
        path: the file, which may have any name.
        schema: of all batches.
        ending: says the format, as ``require_writable`` has it.
    """
    if ending in _PARQUET:
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            yield from _grouped(writer, schema)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        if ending in _JSON_LINES:
            yield lambda batch: _write_json_lines(file, batch)
            return
        table = csv.writer(file, delimiter=_DELIMITERS[ending], lineterminator="\n")
        table.writerow(schema.names)
        yield lambda batch: table.writerows(zip(*map(_cells, batch.columns), strict=True))


def _grouped(writer: pq.ParquetWriter, schema: pa.Schema) -> Iterator[Write]:
    """Keep batches until they make a row group worth its name."""
    kept: list[pa.RecordBatch] = []

    def flush() -> None:
        if kept:
            writer.write_table(pa.Table.from_batches(kept, schema))
            kept.clear()

    def write(batch: pa.RecordBatch) -> None:
        kept.append(batch)
        if sum(one.num_rows for one in kept) >= _ROWS_PER_GROUP:
            flush()

    yield write
    flush()


def _write_json_lines(file: Any, batch: pa.RecordBatch) -> None:
    columns = [_json_values(field, column) for field, column in zip(batch.schema, batch.columns, strict=True)]
    for row in zip(*columns, strict=True):
        record = dict(zip(batch.schema.names, row, strict=True))
        file.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")


def _json_values(field: pa.Field, column: pa.Array) -> list[Any]:
    values: list[Any] = column.to_pylist()
    if JSON_TEXT in (field.metadata or {}):
        return [None if value is None else json.loads(value) for value in values]
    if pa.types.is_floating(field.type):  # JSON has no word for what is no number
        return [value if value is None or math.isfinite(value) else None for value in values]
    return values


def _cells(column: pa.Array) -> list[Any]:
    """Return a column as CSV has it: nothing for null, JSON for what has parts."""
    if not pa.types.is_nested(column.type):
        values: list[Any] = column.to_pylist()
        return values
    return [None if v is None else json.dumps(v, ensure_ascii=False, default=str) for v in column.to_pylist()]


def _holds_binary(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if any(_holds_binary(kind.field(index).type) for index in range(kind.num_fields)):
        return True
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    return any(test(kind) for test in tests)
