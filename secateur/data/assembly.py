"""Files that were read, put together: their labels settled at once, and the rows of each part told apart."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from secateur.data.rare_labels import rare_among, without
from secateur.errors import DataError
from secateur.readers.label_sets import counted
from secateur.readers.label_spelling import settle_labels
from secateur.readers.labels import MIN_ROWS_PER_LABEL, require_classes
from secateur.readers.layout import Found
from secateur.readers.reading import Reading
from secateur.readers.times import require_one_kind
from secateur.sources.locations import TableFormat
from secateur.sources.source_files import PARTS, parameter_of

_PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_MAX_NAMED = 8


@dataclass(frozen=True)
class Readable:
    """A local file that was read from end to end without a problem."""

    file: str
    file_format: TableFormat
    encoding: str | None
    found: Found


@dataclass(frozen=True)
class Copied:
    """The rows of a source.

    Attributes:
        rows: columns ``text``, ``label``, ``confidence``, ``row``, which counts through all files; ``group`` and
            ``time`` where a column of theirs was named.
        given: those that were given to judge, by the name of their part.
        remarks: what a person should know about them.
    """

    rows: pa.Table
    given: Mapping[str, pa.Table] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def settled(read: Mapping[str, Sequence[Readable]], reading: Reading) -> Copied:
    """Put the files of all parts together, and settle the labels of all rows at once.

    Args:
        read: name of a part -> its files; those of ``train`` hold the rows of all parts where a column tells them.
        reading: how they were read.

    Raises:
        DataError: labels that are lists, a part that nobody knows, or times that have no order.
    """
    files = [file for part in PARTS for file in read.get(part, ())]
    if reading.columns.time is not None:
        require_one_kind([(file.file, file.found.rows) for file in files], name=reading.columns.time)
    rows = pa.concat_tables([file.found.rows for file in files], promote_options="permissive")
    rows = rows.set_column(rows.schema.get_field_index("row"), "row", pa.array(np.arange(rows.num_rows), pa.int64()))
    remarks = [remark for file in files for remark in file.found.remarks]
    if reading.columns.labels:
        found = settle_labels(rows, reading.labels, column=", ".join(reading.columns.labels))
        rows, remarks = found.rows, [*remarks, *found.remarks]
    if reading.columns.part is not None:
        return _by_column(rows, reading.columns.part, remarks)
    parts, start = {}, 0
    for part in PARTS:
        if read.get(part):
            length = sum(file.found.rows.num_rows for file in read[part])
            parts[part], start = rows.slice(start, length), start + length
    return Copied(parts.pop("train"), parts, tuple(remarks))


def checked(
    copied: Copied, reading: Reading, *, files: Sequence[str], given: Collection[str] = (), min_labels: int
) -> Copied:
    """Check the labels of all files together; they are needed only where there is a column of them.

    Args:
        copied: the rows that are here.
        reading: how they were read.
        files: names of those with the rows that train, for messages.
        given: parts with rows of their own that are not here yet.
        min_labels: different labels that there must be.

    Raises:
        DataError: too few labels or rows, or rows that judge have labels that no other row has.
    """
    column = ", ".join(reading.columns.labels)
    if not column:
        return copied
    labels, apart = copied.rows["label"].to_pylist(), {*given, *copied.given}
    require_classes(
        without(labels, rare_among(labels, reading.labels), reading.labels),
        when=f"in column {column!r} of {', '.join(files)}" + (" among the rows that train" if apart else ""),
        remedy="check ingest.label_column, or add rows",
        min_labels=min_labels,
        min_rows=MIN_ROWS_PER_LABEL - len(apart),
    )
    for part, rows in copied.given.items():
        if rows["label"].null_count == rows.num_rows:
            raise DataError(
                f"{given_by(part, reading)} has no row with a label in {column!r}, and rows that judge need one; leave "
                "it out, and a part of the others judges"
            )
    if reading.labels.numbers:
        return copied  # rows that judge may have any
    known = counted(labels)
    for part, rows in copied.given.items():
        unknown = sorted(set(counted(rows["label"].to_pylist())) - set(known))
        if unknown:
            raise DataError(
                f"{given_by(part, reading)} has labels that no row to learn from has: {', '.join(unknown[:10])}; a "
                "model cannot learn them"
            )
    return copied


def given_by(part: str, reading: Reading) -> str:
    """Return how the rows of a part were given, for messages."""
    column = reading.columns.part
    return parameter_of(part) if column is None else f"the part {part} of ingest.split_column={column}"


def _by_column(rows: pa.Table, column: str, remarks: list[str]) -> Copied:
    """Tell the parts apart by what each row says."""
    names = {name: _PARTS.get(name.casefold()) for name in pc.unique(rows["part"].drop_null()).to_pylist()}
    if unknown := sorted(name for name, part in names.items() if part is None):
        raise DataError(
            f"ingest.split_column={column} holds {', '.join(map(repr, unknown[:_MAX_NAMED]))}; it takes train, "
            "validation (valid, val, dev) and test"
        )
    says = pa.array([names.get(name) for name in rows["part"].to_pylist()], pa.string())
    parts = {part: rows.filter(pc.equal(says, part)).drop_columns("part") for part in set(names.values()) if part}
    if "train" not in parts:
        raise DataError(f"ingest.split_column={column} leaves no row to train: no row says train")
    if says.null_count:
        remarks.append(f"{says.null_count} of {rows.num_rows} rows have no part in {column!r}, and are left out")
    return Copied(parts.pop("train"), {part: parts[part] for part in PARTS if part in parts}, tuple(remarks))
