"""Files of rows that are read piece by piece with all their columns, for a model that is finished.

A file is looked at once before anything is computed: how many rows it has, and whether all of it can be read.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, final

import pyarrow as pa
import pyarrow.parquet as pq

from secateur.errors import DataError
from secateur.readers.delimited import Delimited, open_delimited
from secateur.readers.json_columns import JSON_TEXT, column_of, field_of, kind_of, simple_column
from secateur.readers.json_rows import json_records, without_surrogates
from secateur.readers.json_values import Repeated, require_once
from secateur.readers.layout import Columns, require
from secateur.readers.pairs import as_text
from secateur.readers.parquet import require_all
from secateur.readers.plain import PLAIN_COLUMNS
from secateur.readers.reading import Reading
from secateur.readers.tables import encoding_for, format_of
from secateur.readers.workbook import WorkbookTable, read_workbook
from secateur.sources.compression import bare, explained, open_bytes
from secateur.sources.locations import DATABASES, TableFormat, locate

DATA = "--data"
"""The option that names such a file."""


class RowFile(ABC):
    """A file that can be read.

    Attributes:
        name: of the file, without its folder.
        schema: names and types of the columns.
        num_rows: at least one.
        remarks: what a person should know about it, one line each.
    """

    name: str
    schema: pa.Schema
    num_rows: int
    remarks: tuple[str, ...] = ()

    @abstractmethod
    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """Yield all rows in their order, at most ``size`` at once.

        Raises:
            DataError: the file is damaged behind what was looked at.
        """

    def require(self, column: str) -> None:
        """Refuse a column that is not there.

        Raises:
            DataError: naming those that are.
        """
        require(Columns(text=column, label=None, confidence=None), self.schema.names, name=self.name)


def open_rows(data: str, reading: Reading, *, also: Sequence[str] = ()) -> RowFile:
    """Open a file and look at all of it that has to be read to know whether it can be.

    Args:
        data: a CSV, TSV, JSON, Parquet or Excel file, perhaps compressed, or ``package:NAME/path``.
        reading: its columns of texts and labels, and how it is written.
        also: other columns that it must have.

    Raises:
        DataError: there is no such file or column, it has no rows, two columns of one name, or cannot be read.
    """
    location = locate(data, asked_by=DATA)
    path = location.path
    if path is None or not path.is_file():
        raise DataError(f"{DATA}: there is no file {data!r}; it takes CSV, TSV, JSONL, Parquet and Excel")
    if path.stat().st_size == 0:
        raise DataError(f"{DATA}: {path.name} is empty (0 bytes)")
    kind = format_of(path, reading.file_format)
    if kind in PLAIN_COLUMNS or kind in DATABASES:
        raise DataError(f"{DATA}: rows come from csv, jsonl, parquet or excel, and not from ingest.format={kind}")
    with explained(path):
        encoding = encoding_for(path, kind, asked=reading.encoding, kind=location.kind, query=reading.layout.query)
        found = _opened(path, kind, encoding=encoding, reading=reading)
    if found.num_rows == 0:
        raise DataError(f"{path.name} has no rows; there is nothing to answer")
    for column in (*reading.columns.names, *also):
        found.require(column)
    twice = next((name for name in found.schema.names if found.schema.names.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"{path.name} has {found.schema.names.count(twice)} columns named {twice!r}; rename all but one"
        )
    for text in reading.columns.texts:
        if not _is_text(found.schema.field(text)):
            raise DataError(f"{path.name}: column {text!r} holds {_said(found.schema.field(text))}, not text")
    return found


def texts_of(batch: pa.RecordBatch, columns: Sequence[str]) -> list[str | None]:
    """Return the texts of a column, or pairs of those of two; None where there is none.

    Raises:
        DataError: a column holds bytes that are no text.
    """
    rows = zip(*(values_of(batch, column) for column in columns), strict=True)
    return [None if None in texts else as_text(texts) for texts in rows]


def values_of(batch: pa.RecordBatch, column: str) -> list[Any]:
    """Return a column as Python's values; bytes as the text that they are.

    Raises:
        DataError: they are none.
    """
    try:
        values: list[Any] = batch.column(column).to_pylist()
        if _is_binary(batch.schema.field(column).type):
            return [None if value is None else value.decode() for value in values]
    except UnicodeDecodeError as error:  # a damaged file may say that bytes are text
        raise DataError(f"column {column!r} holds bytes that are not UTF-8; write it as text") from error
    if JSON_TEXT in (batch.schema.field(column).metadata or {}):
        return [None if value is None else json.loads(value) for value in values]
    return values


def _opened(path: Path, kind: TableFormat, *, encoding: str | None, reading: Reading) -> RowFile:
    if kind == "excel":
        return _WorkbookRows(path.name, read_workbook(path, columns=reading.columns, layout=reading.layout))
    if encoding is None:
        return _ParquetRows(path)
    if kind == "jsonl":
        return _JsonRows.looked_at(path, encoding=encoding, columns=reading.columns)
    table = open_delimited(path, tabs=kind == "tsv", encoding=encoding, columns=reading.columns, layout=reading.layout)
    return _DelimitedRows(path.name, table)


def _is_text(field: pa.Field) -> bool:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    is_text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null, _is_binary)
    return any(test(kind) for test in is_text) and JSON_TEXT not in (field.metadata or {})


def _is_binary(kind: pa.DataType) -> bool:
    is_binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    return any(test(kind) for test in is_binary)


def _said(field: pa.Field) -> str:
    return "values of several types" if JSON_TEXT in (field.metadata or {}) else str(field.type)


@final
class _DelimitedRows(RowFile):
    """CSV and TSV: every cell is text."""

    def __init__(self, name: str, table: Delimited) -> None:
        self.name, self._table = name, table
        self.schema = pa.schema([pa.field(column, pa.string()) for column in table.header])
        self.num_rows, self.remarks = table.num_rows, table.remarks

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """See ``RowFile``."""
        rows = self._table.rows()
        while chunk := list(islice(rows, size)):
            columns = [pa.array(values, pa.string()) for values in zip(*chunk, strict=True)]
            yield pa.record_batch(columns, schema=self.schema)


@final
class _ParquetRows(RowFile):
    """Parquet: columns keep their types."""

    def __init__(self, path: Path) -> None:
        self.name, self._path = path.name, path
        with self._opened() as file:
            self.schema, self.num_rows = file.schema_arrow, file.metadata.num_rows
        try:
            _ = self.schema.names
        except UnicodeDecodeError as error:
            raise DataError(f"{self.name} is not a Parquet file: a column's name is no text") from error

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """See ``RowFile``."""
        with self._opened() as file:
            read, num_rows = file.iter_batches(batch_size=size), 0
            while True:
                try:
                    batch = next(read, None)
                except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                    reason = " ".join(str(error).split())[:200]
                    raise DataError(f"{self.name} is damaged and cannot be read to its end: {reason}") from error
                if batch is None:
                    break
                num_rows += batch.num_rows
                yield batch.cast(self.schema) if batch.schema != self.schema else batch
            require_all(num_rows, file, name=self.name)

    def _opened(self) -> pq.ParquetFile:
        try:
            if bare(self._path) == self._path:
                return pq.ParquetFile(self._path, pre_buffer=False)
            with open_bytes(self._path) as raw:
                return pq.ParquetFile(pa.BufferReader(raw.read()))
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise DataError(f"{self.name} is not a Parquet file: {' '.join(str(error).split())[:200]}") from error


@final
class _WorkbookRows(RowFile):
    """A sheet of a workbook, which is read as a whole: a column has the simplest type that holds it."""

    def __init__(self, name: str, table: WorkbookTable) -> None:
        self.name, self.num_rows, self.remarks = name, len(table.rows), table.remarks
        self._table = pa.table({column: simple_column(table.column(column)) for column in table.header})
        self.schema = self._table.schema

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """See ``RowFile``."""
        yield from self._table.to_batches(max_chunksize=size)


@final
@dataclass(frozen=True)
class _JsonRows(RowFile):
    """JSON Lines, and arrays of objects: a column that is absent in a row is null there."""

    path: Path
    encoding: str
    columns: Columns
    name: str
    schema: pa.Schema
    num_rows: int

    @classmethod
    def looked_at(cls, path: Path, *, encoding: str, columns: Columns) -> "_JsonRows":
        """Read all rows once for the names and types of their columns."""
        kinds: dict[str, set[type]] = {}
        num_rows = 0
        for where, record in json_records(path, encoding=encoding, columns=columns):
            num_rows += 1
            for name in sorted(record.twice) if isinstance(record, Repeated) else ():
                require_once(record, name, where=f"{path.name} {where}")
            for name, value in record.items():
                kinds.setdefault(name, set())
                if value is not None:
                    kinds[name].add(kind_of(value))
        for name in kinds:
            if without_surrogates(name) != name:
                raise DataError(f"{path.name}: the name of column {name!r} holds half a character; rename it")
        fields = [field_of(name, frozenset(found)) for name, found in kinds.items()]
        return cls(path, encoding, columns, path.name, pa.schema(fields), num_rows)

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """See ``RowFile``."""
        records = json_records(self.path, encoding=self.encoding, columns=self.columns)
        while chunk := [record for _, record in islice(records, size)]:
            columns = [column_of(field, [record.get(field.name) for record in chunk]) for field in self.schema]
            yield pa.record_batch(columns, schema=self.schema)
