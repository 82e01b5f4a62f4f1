"""Reading the columns that matter from CSV, JSON Lines or Parquet into one Arrow table."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from secateur.data.labels import canonical_labels
from secateur.errors import DataError

TableFormat = Literal["csv", "tsv", "jsonl", "parquet", "lines", "text"]

_BY_ENDING: dict[str, TableFormat] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_BLOCK_BYTES = 1 << 24
_SAMPLE_ROWS = 100


@dataclass(frozen=True)
class Columns:
    """Names of the columns in the source."""

    text: str
    label: str | None
    confidence: str | None

    @property
    def names(self) -> list[str]:
        """The names that are asked for, text first."""
        return [name for name in (self.text, self.label, self.confidence) if name is not None]


def format_of(path: Path, asked: str) -> TableFormat:
    """Return the table format of a file.

    Raises:
        DataError: the ending says nothing, or plain text was not asked for.
    """
    by_ending = _BY_ENDING.get(path.suffix.lower())
    if asked in ("lines", "text"):
        return "lines" if asked == "lines" else "text"
    if asked == "auto" and path.suffix.lower() in {".txt", ".text"}:
        raise DataError(
            f"{path.name} is plain text, which has no labels; set ingest.format to lines (a row per line, "
            "labelled with its file's name if ingest.label_column is file) or to text, or use CSV, JSONL or Parquet"
        )
    if asked == "csv":
        return "tsv" if by_ending == "tsv" else "csv"
    if asked == "jsonl":
        return "jsonl"
    if asked == "parquet":
        return "parquet"
    if by_ending is None:
        known = ", ".join(sorted(_BY_ENDING))
        raise DataError(
            f"{path.name}: the ending {path.suffix!r} says no format; set ingest.format, or use one of {known}"
        )
    return by_ending


def read_rows(path: Path, *, file_format: TableFormat, encoding: str | None, columns: Columns) -> pa.Table:
    """Read a source into the columns ``text``, ``label``, ``confidence``, ``row``.

    ``text`` and ``label`` are strings or null, ``confidence`` is float64 in [0, 1] or null (both all null without a
    column of theirs), ``row`` counts the records of the source from 0. Blank lines are not records.

    Raises:
        DataError: a column is missing, a line cannot be read, or a value has the wrong type.
    """
    if file_format == "jsonl":
        raw = _read_jsonl(path, encoding=encoding or "utf-8", columns=columns)
    elif file_format == "parquet":
        raw = _read_parquet(path, columns)
    elif file_format in ("lines", "text"):
        raw = _read_plain(path, whole=file_format == "text", encoding=encoding or "utf-8", columns=columns)
    else:
        raw = _read_csv(
            path, delimiter="\t" if file_format == "tsv" else ",", encoding=encoding or "utf-8", columns=columns
        )
    if raw.num_rows == 0:
        what = "no line that is not blank" if file_format in ("lines", "text") else "a header and no rows"
        raise DataError(f"{path.name} has {what}; nothing to train on")
    nothing, confidence = pa.nulls(raw.num_rows, pa.string()), pa.nulls(raw.num_rows, pa.float64())
    if columns.confidence:
        confidence = _confidence(raw[columns.confidence], name=columns.confidence)
    return pa.table(
        {
            "text": raw[columns.text],
            "label": canonical_labels(raw[columns.label], name=columns.label) if columns.label else nothing,
            "confidence": confidence,
            "row": pa.array(range(raw.num_rows), pa.int64()),
        }
    )


def _require(columns: Columns, found: list[str], *, name: str) -> None:
    missing = [column for column in columns.names if column not in found]
    if missing:
        listed = ", ".join(column if column.isprintable() else repr(column) for column in found)[:300] or "none"
        raise DataError(f"{name} has no column {missing[0]!r}; its columns are: {listed}")
    twice = [column for column in columns.names if found.count(column) > 1]
    if twice:
        raise DataError(f"{name} has {found.count(twice[0])} columns named {twice[0]!r}; rename all but one")


def _read_csv(path: Path, *, delimiter: str, encoding: str, columns: Columns) -> pa.Table:
    # The header is read apart: pyarrow would name a missing column, but not the ones that are there.
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as file:
        try:
            header = next(csv.reader(file, delimiter=delimiter), [])
        except csv.Error as error:
            raise DataError(f"{path.name} has no readable header line: {error}") from error
    _require(columns, header, name=path.name)
    try:
        return pa_csv.read_csv(
            path,
            read_options=pa_csv.ReadOptions(block_size=_BLOCK_BYTES, encoding=encoding, use_threads=False),
            parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                include_columns=columns.names,
                column_types=dict.fromkeys(columns.names, pa.string()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path.name} cannot be read as {len(header)} columns: {reason}") from error


def _read_parquet(path: Path, columns: Columns) -> pa.Table:
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path.name} is not a Parquet file: {error}") from error
    with file:
        _require(columns, list(file.schema_arrow.names), name=path.name)
        table = file.read(columns=columns.names)
    text = table[columns.text]
    if pa.types.is_dictionary(text.type):
        text = text.cast(text.type.value_type)
    if not (pa.types.is_string(text.type) or pa.types.is_large_string(text.type) or pa.types.is_null(text.type)):
        raise DataError(f"{path.name}: column {columns.text!r} holds {text.type}, not text")
    return table.set_column(table.schema.get_field_index(columns.text), columns.text, text.cast(pa.large_string()))


def _read_plain(path: Path, *, whole: bool, encoding: str, columns: Columns) -> pa.Table:
    """Read plain text: one record per line that is not blank, or one in all."""
    _require(columns, ["text", "file"], name=path.name)
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding) as file:
        texts = [file.read()] if whole else [line.rstrip("\n") for line in file]
    texts = [text for text in texts if text.strip()]
    return pa.table(
        {"text": pa.array(texts, pa.large_string()), "file": pa.array([path.stem] * len(texts), pa.string())}
    )


def _read_jsonl(path: Path, *, encoding: str, columns: Columns) -> pa.Table:
    # Read here and not by pyarrow.json: labels may mix 1 and "1", and an error should name its line.
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="\n") as file:
        sample = list(islice(_records(file, name=path.name), _SAMPLE_ROWS))
    _require(columns, list(dict.fromkeys(key for _, record in sample for key in record)), name=path.name)
    values: dict[str, list[Any]] = {name: [] for name in columns.names}
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="\n") as file:
        for line, record in _records(file, name=path.name):
            text = record.get(columns.text)
            if text is not None and not isinstance(text, str):
                raise DataError(f"{path.name} line {line}: {columns.text!r} holds {type(text).__name__}, not text")
            for name in columns.names:
                values[name].append(record.get(name))
            if text is not None and not text.isascii():
                values[columns.text][-1] = _without_surrogates(text)
    return pa.table(
        {
            columns.text: pa.array(values[columns.text], pa.large_string()),
            **({columns.label: canonical_labels(values[columns.label], name=columns.label)} if columns.label else {}),
            **({columns.confidence: _as_strings(values[columns.confidence])} if columns.confidence else {}),
        }
    )


def _records(file: io.TextIOBase, *, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{name} line {number} is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise DataError(f"{name} line {number} is a JSON {type(record).__name__}; each line must be an object")
        yield number, record


def _without_surrogates(text: str) -> str:
    r"""Join escaped pairs, and replace halves (``"\ud83d"``), which no encoding can write."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _as_strings(values: list[Any]) -> pa.Array:
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _confidence(column: pa.ChunkedArray, *, name: str) -> pa.ChunkedArray:
    """Turn a column into float64 in [0, 1]; what is blank or not a number at all becomes null."""
    if pa.types.is_string(column.type):
        trimmed = pc.utf8_trim_whitespace(column)
        column = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)
    try:
        numbers = column.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"ingest.confidence_column={name!r} holds something that is not a number: {reason}") from error
    numbers = pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    low, high = pc.min_max(numbers).as_py().values()
    if low is not None and (low < 0 or high > 1):
        raise DataError(f"ingest.confidence_column={name!r} ranges from {low:g} to {high:g}; it must lie in [0, 1]")
    return numbers
