"""Reading the columns that matter from CSV, JSON, Parquet or a workbook into one Arrow table."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from secateur.errors import DataError
from secateur.readers.class_names import named_labels
from secateur.readers.database import read_query
from secateur.readers.delimited import read_delimited
from secateur.readers.encodings import encoding_of
from secateur.readers.json_rows import read_json
from secateur.readers.label_cells import are_lists, labels_of
from secateur.readers.labels import canonical_labels
from secateur.readers.layout import Columns, Found, Layout
from secateur.readers.pairs import SEPARATOR, as_text, has_words
from secateur.readers.parquet import read_parquet
from secateur.readers.pieces import pieces
from secateur.readers.plain import PLAIN_COLUMNS, is_fasttext, read_plain
from secateur.readers.times import times_of
from secateur.readers.workbook import read_workbook
from secateur.sources.compression import explained, name_inside, require_text
from secateur.sources.locations import BY_ENDING, DATABASES, PLAIN_TEXT, SourceKind, TableFormat

_NUL = "\0"
_FOR_NO_TEXT = ("nan", "none", "null", "n/a", "na", "#n/a", "<na>", "\\n", "[deleted]", "[removed]", "(null)")
"""What databases, pandas, spreadsheets and forums write for a text that is absent, in small letters."""

_BINARY = ("parquet", "excel", "sqlite", "duckdb")
_NOTHING: Mapping[str, str] = {
    **dict.fromkeys(PLAIN_COLUMNS, "no line that is not blank"),
    **dict.fromkeys(DATABASES, "no row that answers ingest.query"),
}


def format_of(path: Path, asked: str) -> TableFormat:
    """Return the table format of a file.

    Raises:
        DataError: the ending says nothing, or plain text was not asked for.
    """
    ending = name_inside(path).suffix.lower()
    by_ending = BY_ENDING.get(ending)
    if asked in PLAIN_COLUMNS:
        return cast(TableFormat, asked)
    if asked == "auto" and ending in PLAIN_TEXT:
        if is_fasttext(path):
            raise DataError(f"{path.name} holds lines with labels as fastText has them; set ingest.format=fasttext")
        raise DataError(
            f"{path.name} is plain text, which has no labels; set ingest.format to lines (a row per line, "
            "labelled with its file's name if ingest.label_column is file) or to text, or use CSV, JSONL or Parquet"
        )
    if asked == "csv":
        return "tsv" if by_ending == "tsv" else "csv"
    if asked in ("jsonl", "parquet", "excel", "sqlite", "duckdb"):
        return cast(TableFormat, asked)
    if by_ending is None:
        require_text(path)  # which names what can be recognised
        known = ", ".join(sorted(BY_ENDING))
        raise DataError(f"{path.name}: the ending {ending!r} says no format; set ingest.format, or use one of {known}")
    return by_ending


def encoding_for(
    path: Path,
    file_format: TableFormat,
    *,
    asked: str,
    kind: SourceKind,
    query: str | None = None,
) -> str | None:
    """Return the encoding of a file of text, see ``encoding_of``; None of one that holds bytes.

    Raises:
        DataError: there is a query and it is no database; it is not what its name promises, or does not decode.
    """
    if query is not None and file_format not in DATABASES:
        raise DataError(f"ingest.query asks a database, and {path.name} is none (ingest.format={file_format})")
    if file_format in _BINARY:
        return None
    require_text(path)
    return encoding_of(path, asked=asked, kind=kind)


def read_rows(
    path: Path, *, file_format: TableFormat, encoding: str | None, columns: Columns, layout: Layout | None = None
) -> Found:
    """Read a source into the columns ``text``, ``label``, ``confidence``, ``row``.

    ``text`` and ``label`` are strings or null, ``confidence`` is float64 in [0, 1] or null (both all null without a
    column of theirs), ``row`` counts the records of the source from 0. Blank lines are not records. Where the columns
    name them, ``part`` and ``group`` come with them, strings or null, and ``time`` as ``times.times_of`` has it.

    A pair is one text, see ``pairs``; several labels are one string, see ``label_sets``.

    Raises:
        DataError: a column is missing, a line cannot be read, or a value has the wrong type.
    """
    remarks: tuple[str, ...] = ()
    classes: list[str] = []
    with explained(path):
        if file_format == "jsonl":
            raw: Mapping[str, Any] = read_json(path, encoding=encoding or "utf-8", columns=columns)
        elif file_format == "parquet":
            raw, classes = read_parquet(path, columns)
        elif file_format in DATABASES:
            raw = read_query(path, layout.query if layout else None, columns)
        elif file_format == "excel":
            sheet = read_workbook(path, columns=columns, layout=layout or Layout())
            raw, remarks = {name: sheet.column(name) for name in columns.names}, sheet.remarks
        elif file_format in PLAIN_COLUMNS:
            raw = read_plain(path, file_format, encoding=encoding or "utf-8", columns=columns)
        else:
            found = read_delimited(
                path,
                tabs=file_format == "tsv",
                encoding=encoding or "utf-8",
                columns=columns,
                layout=layout or Layout(),
            )
            raw, remarks = _by_column(found.rows), found.remarks
    num_rows = len(raw[columns.text])
    if num_rows == 0:
        what = _NOTHING.get(file_format, "a header and no rows")
        raise DataError(f"{path.name} has {what}; nothing to train on")
    confidence = pa.nulls(num_rows, pa.float64())
    if columns.confidence:
        confidence = _confidence(_as_chunks(raw[columns.confidence]), name=columns.confidence)
    labels = labels_of(raw, columns, separator=layout.label_separator if layout else None)
    if classes and not columns.more and not columns.numbers:
        wanted = layout is not None and layout.class_names
        labels, said = named_labels(labels, classes, columns=columns, asked=wanted)
        remarks += (f"{path.name} {said}",)
    rows = pa.table(
        {
            "text": _texts([raw[column] for column in columns.texts]),
            "label": labels,
            "confidence": confidence,
            "row": pa.array(np.arange(num_rows), pa.int64()),
            **{
                name: canonical_labels(raw[column], name=column, what=f"{name} column")
                for name, column in (("part", columns.part), ("group", columns.group))
                if column is not None
            },
        }
    )
    if columns.label and not columns.sets and are_lists(raw[columns.label]):
        remarks += (f"{path.name}: the cells of {columns.label!r} are lists of one label each, which is taken",)
    remarks += _told_of_words_for_none(rows["text"], name=path.name)
    remarks += tuple(_told_of_nul(rows["text"], name=path.name, decoded=encoding is not None))
    if columns.time is not None:
        asked = layout.time_format if layout else None
        times = times_of(raw[columns.time], name=columns.time, file=path.name, time_format=asked)
        rows = rows.append_column("time", times)
    pa.default_memory_pool().release_unused()  # Arrow would keep what reading took on the way
    return Found(rows, remarks)


def _by_column(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    return {name: table[name] for name in table.column_names}


def _texts(columns: Sequence[Any]) -> Any:
    """Return one column of texts; a pair of which one is absent or blank is no text."""
    if len(columns) == 1:
        (values,) = columns
        single = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values], pa.large_string())
        holds = any(pc.any(pc.match_substring(piece, SEPARATOR)).as_py() for piece in pieces(single))
        return pc.replace_substring(single, SEPARATOR, "\ufffd") if holds else single
    plain = (values.to_pylist() if isinstance(values, pa.ChunkedArray) else values for values in columns)
    pairs = (as_text([text or "" for text in texts]) for texts in zip(*plain, strict=True))
    return pa.array([pair if has_words(pair) else None for pair in pairs], pa.large_string())


def _told_of_words_for_none(texts: pa.ChunkedArray, *, name: str) -> tuple[str, ...]:
    """Say how many texts are what programs write where there is none."""
    found: Counter[str] = Counter()
    for piece in pieces(texts):
        words = pc.utf8_lower(pc.utf8_trim_whitespace(pc.drop_null(piece)))
        found.update(words.filter(pc.is_in(words, pa.array(_FOR_NO_TEXT, words.type))).to_pylist())
    if not (count := found.total()):
        return ()
    word = found.most_common(1)[0][0]
    which = "1 text is a word" if count == 1 else f"{count} texts are words"
    return (f"{name}: {which} for none, such as {word!r}; leave such rows out of it, if that is what is meant",)


def _told_of_nul(texts: pa.ChunkedArray, *, name: str, decoded: bool) -> Iterator[str]:
    """Say how many texts hold NUL, which cleaning takes out.

    Args:
        texts: of the rows.
        name: of their file, for messages.
        decoded: whether they come from a file of text, which has an encoding.

    Raises:
        DataError: it stands in every second place, as in a file of another encoding.
    """
    holding = pa.chunked_array(
        [pc.fill_null(pc.match_substring(piece, _NUL), False) for piece in pieces(texts)], pa.bool_()
    )
    if not (count := pc.sum(holding).as_py()):
        return
    first = pc.index(holding, True).as_py()
    if decoded and 3 * str(texts[first]).count(_NUL) > len(str(texts[first])):
        raise DataError(
            f"{name} row {first + 1} has NUL between its letters, as text of two bytes for each has; "
            "ingest.encoding=utf-16-le (or utf-16-be) would work, or write the file anew"
        )
    which = "1 text holds" if count == 1 else f"{count} texts hold"
    yield f"{name}: {which} the character NUL, which cleaning takes out (first: row {first + 1})"


def _as_chunks(values: Any) -> pa.ChunkedArray:
    """Return what a column of confidence holds; values of JSON as text, since they may mix types."""
    if isinstance(values, pa.ChunkedArray):
        return values
    return pa.chunked_array([pa.array([None if value is None else str(value) for value in values], pa.string())])


def _confidence(column: pa.ChunkedArray, *, name: str) -> pa.ChunkedArray:
    """Turn a column into float64 in [0, 1]; what is blank or not a number at all becomes null."""
    if pa.types.is_null(column.type):
        return column.cast(pa.float64())
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
