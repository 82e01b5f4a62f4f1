"""Token rows: a table of texts is tokenised once, and mapped from disk by every stage after that."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from secateur.data.encoding import encode, token_types
from secateur.data.units import Units
from secateur.data.windows import Windows
from secateur.errors import DataError
from secateur.readers.pairs import texts_in

_ROWS_PER_BATCH = 2000

_GIVEN, _KIND, _UNITS, _WINDOWS = b"given", b"kind", b"units", b"windows"
_SECOND = "second"


@dataclass(frozen=True)
class TokenRows:
    """Tokenised rows: texts with a target each, or text whose every next token is to be predicted.

    Attributes:
        values: all token ids, row after row, (tokens,) int32.
        offsets: row ``i`` is ``values[offsets[i]:offsets[i + 1]]``, (rows + 1,).
        labels: target of every row, as its kind has it: of a label the index, (rows,) int64.
        rows: number of the row in the source, (rows,) int64.
        given: ids that a generator is told and never predicts (begin of text, control tokens); None for rows that
            have a target each.
        kind: of the task that they are rows of.
        second: where the second text of every pair begins, (rows,) int64, for models that are told so by token types;
            None for all others.
        spelling: predicted tokens per predicted token of the first tokenizer; above 1 where a vocabulary was cut and
            rare tokens are spelled. What a generator loses per token is told per token of the first tokenizer.
        units: that numbers are learned in; None where a target is none.
        windows: that rows are read in which are longer than the model reads; None where none is.
    """

    values: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    labels: npt.NDArray[Any]
    rows: npt.NDArray[np.int64]
    given: tuple[int, ...] | None = None
    kind: str = "classification"
    second: npt.NDArray[np.int64] | None = None
    spelling: float = 1.0
    units: Units | None = None
    windows: Windows | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of every row, (rows,)."""
        return np.diff(self.offsets)

    @property
    def num_windows(self) -> npt.NDArray[np.int64]:
        """Pieces in which a model reads every row, (rows,)."""
        lengths = self.lengths
        return np.ones_like(lengths) if self.windows is None else self.windows.counts(lengths)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Tokens that a model reads for every row, (rows,): of one in windows those of all of them."""
        lengths = self.lengths
        return lengths if self.windows is None else np.minimum(lengths, self.windows.length) * self.num_windows

    @property
    def longest(self) -> int:
        """Tokens of the longest row that a model reads, or of the longest window."""
        longest = int(self.lengths.max())
        return longest if self.windows is None else min(longest, self.windows.length)

    @property
    def windowed(self) -> dict[str, int]:
        """Rows that are read in several windows, the windows of all of these, and those of the longest."""
        counts = self.num_windows
        several = counts[counts > 1]
        found = {"texts": len(several), "windows": several.sum(), "most": several.max(initial=0)}
        return {name: int(value) for name, value in found.items()}

    def described(self) -> dict[str, Any]:
        """Return what details.json says of rows that may be read in windows: nothing of others."""
        if self.windows is None:
            return {}
        unread = int(self.windows.unread(self.lengths).sum())
        limits = {"tokens": self.windows.length, "limit": self.windows.most}
        return {"windows": {**limits, **self.windowed, "unread": unread}}

    @property
    def num_predicted(self) -> int:
        """Tokens that a generator predicts: all but the first of every row and those that are given."""
        predicted = ~np.isin(self.values, self.given or ())
        predicted[self.offsets[:-1]] = False
        return int(predicted.sum())

    def ids(self, index: int) -> npt.NDArray[np.int32]:
        """Return the token ids of one row, (length,)."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def pieces(self, index: npt.NDArray[np.int64]) -> tuple[list[npt.NDArray[np.int32]], npt.NDArray[np.int64] | None]:
        """Return what a model reads of some rows: a piece for each, or of a row in windows all of them.

        Returns:
            The token ids of every piece, and the place in ``index`` of its row, (pieces,), ascending; None for that
            where every row is one piece.
        """
        rows = [self.ids(int(row)) for row in index]
        if self.windows is None or max(map(len, rows), default=0) <= self.windows.length:
            return rows, None
        found = [(piece, place) for place, row in enumerate(rows) for piece in self.windows.of(row)]
        return [piece for piece, _ in found], np.array([place for _, place in found], np.int64)

    def types(self, index: npt.NDArray[np.int64], *, width: int) -> npt.NDArray[np.int64] | None:
        """Return 1 on the tokens of second texts and 0 elsewhere, (B, width); None where no model is told."""
        return None if self.second is None else token_types(self.second[index], self.lengths[index], width=width)

    def take(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> "TokenRows":
        """Return the rows at ``indices``, in that order."""
        chosen = [self.ids(int(index)) for index in indices]
        index = np.asarray(indices, dtype=np.int64)
        taken = from_lists(chosen, labels=self.labels[index], rows=self.rows[index], given=self.given, kind=self.kind)
        second = None if self.second is None else self.second[index]
        return replace(taken, second=second, spelling=self.spelling, units=self.units, windows=self.windows)


def from_lists(
    input_ids: Sequence[Sequence[int] | npt.NDArray[np.int32]],
    *,
    labels: Sequence[int] | npt.NDArray[Any],
    rows: Sequence[int] | npt.NDArray[np.int64] | None = None,
    given: tuple[int, ...] | None = None,
    kind: str | None = None,
    second: Sequence[int] | None = None,
    windows: Windows | None = None,
) -> TokenRows:
    """Build token rows from one list of ids per row.

    Args:
        input_ids: of every row.
        labels: as in ``TokenRows``; a list holds indices.
        rows: numbers; 0, 1, 2, ... unless given.
        given: as in ``TokenRows``.
        kind: None is told by ``given``, as before there were more kinds than two.
        second: as in ``TokenRows``.
        windows: as in ``TokenRows``.
    """
    lengths = [len(ids) for ids in input_ids]
    flat = [np.asarray(ids, dtype=np.int32) for ids in input_ids]
    return TokenRows(
        values=np.concatenate(flat) if flat else np.zeros(0, dtype=np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        labels=labels if isinstance(labels, np.ndarray) else np.asarray(labels, dtype=np.int64),
        rows=np.asarray(np.arange(len(lengths)) if rows is None else rows, dtype=np.int64),
        given=given,
        kind=kind or told_by(given),
        second=None if second is None else np.asarray(second, dtype=np.int64),
        windows=windows,
    )


def told_by(given: tuple[int, ...] | None) -> str:
    """Return the kind of rows of which nothing else is said, as before there were more than two."""
    return "classification" if given is None else "generation"


def _schema(
    target: pa.DataType,
    *,
    given: tuple[int, ...] | None,
    kind: str,
    typed: bool,
    units: Units | None,
    windows: Windows | None = None,
) -> pa.Schema:
    """Return the columns of a token file. An Arrow stream, so ``datasets.Dataset.from_file`` maps it as well."""
    columns = [
        pa.field("input_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("label", target, nullable=False),
        pa.field("row", pa.int64(), nullable=False),
    ]
    if typed:
        columns.append(pa.field(_SECOND, pa.int64(), nullable=False))
    said = {} if given is None else {_GIVEN: json.dumps(given)}
    if kind != told_by(given):
        said[_KIND] = kind
    if units is not None:
        said[_UNITS] = json.dumps([units.mean, units.scale])
    if windows is not None:
        said[_WINDOWS] = json.dumps(asdict(windows))
    return pa.schema(columns, metadata=said or None)


def tokenize(
    table: Path,
    *,
    tokenizer: Any,
    max_length: int,
    out: Path,
    kind: str = "classification",
    units: Units | None = None,
) -> int:
    """Tokenise the ``text`` column of a parquet file into an Arrow stream: token ids, label and row.

    Reads and writes in batches, so memory stays bounded; equal inputs give equal bytes.

    Args:
        table: parquet with the columns ``text``, ``label`` and ``row``.
        tokenizer: a transformers tokenizer.
        max_length: longer rows are cut, or read in windows, tokens (special tokens included).
        out: the file to write.
        kind: of the task that the labels are targets of.
        units: that they are learned in, where they are numbers.

    Returns:
        Of how many rows something is not read.
    """
    num_cut = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetFile(table) as source, pa.OSFile(str(out), "wb") as sink:
        target, writer = _named_alike(source.schema_arrow.field("label").type), None
        for batch in source.iter_batches(batch_size=_ROWS_PER_BATCH, columns=["text", "label", "row"]):
            texts = batch.column("text").to_pylist()
            encoded = encode(tokenizer, texts, max_length=max_length)
            num_cut += sum(encoded.cut)
            if writer is None:
                typed, windows = encoded.second is not None, encoded.windows
                schema = _schema(target, given=None, kind=kind, typed=typed, units=units, windows=windows)
                writer = pa.ipc.new_stream(sink, schema)
            labels = batch.column("label").cast(target)
            columns = [pa.array(encoded.ids, pa.list_(pa.int32())), labels, batch.column("row")]
            if encoded.second is not None:
                columns.append(pa.array(encoded.second, pa.int64()))
            writer.write_batch(pa.record_batch(columns, schema=schema))
        if writer is None:
            writer = pa.ipc.new_stream(sink, _schema(target, given=None, kind=kind, typed=False, units=units))
        writer.close()
    return num_cut


def _named_alike(target: pa.DataType) -> pa.DataType:
    """Return the type that ``as_arrow`` gives targets; Parquet has another word for the values of a list."""
    return pa.list_(target.value_type, target.list_size) if pa.types.is_fixed_size_list(target) else target


def in_card(table: Path) -> dict[str, int]:
    """Return what the card of a model says of the rows in a table that ``clean`` wrote: nothing, or that texts are two.

    Args:
        table: parquet with the column ``text``.
    """
    with pq.ParquetFile(table) as source:
        first = next(source.iter_batches(batch_size=1, columns=["text"]), None)
    found = 1 if first is None else len(texts_in(str(first.column(0)[0])))
    return {} if found == 1 else {"texts": found}


def write_tokens(rows: TokenRows, out: Path) -> None:
    """Write rows as ``tokenize`` does, with what is given in the metadata of the schema; equal rows, equal bytes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    schema = _schema(
        as_arrow(rows.labels).type,
        given=rows.given,
        kind=rows.kind,
        typed=rows.second is not None,
        units=rows.units,
        windows=rows.windows,
    )
    with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for start in range(0, len(rows), _ROWS_PER_BATCH):
            end = min(start + _ROWS_PER_BATCH, len(rows))
            first, last = rows.offsets[start], rows.offsets[end]
            offsets = pa.array(rows.offsets[start : end + 1] - first, pa.int32())
            ids = pa.ListArray.from_arrays(offsets, pa.array(rows.values[first:last], pa.int32()))
            columns = [ids, as_arrow(rows.labels[start:end]), pa.array(rows.rows[start:end])]
            if rows.second is not None:
                columns.append(pa.array(rows.second[start:end]))
            writer.write_batch(pa.record_batch(columns, schema=schema))


def read_tokens(path: Path) -> TokenRows:
    """Read a file that ``tokenize`` or ``write_tokens`` wrote.

    Raises:
        DataError: the file holds no rows.
    """
    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
        table = reader.read_all().combine_chunks()
    if table.num_rows == 0:
        raise DataError(f"{path} holds no rows; training and evaluation need at least one")
    ids = table.column("input_ids").chunk(0)
    said = table.schema.metadata or {}
    given = None if _GIVEN not in said else tuple(json.loads(said[_GIVEN]))
    return TokenRows(
        values=ids.values.to_numpy(),
        offsets=ids.offsets.to_numpy().astype(np.int64),
        labels=_as_numpy(table.column("label").chunk(0)),
        rows=table.column("row").to_numpy().copy(),
        given=given,
        kind=said[_KIND].decode() if _KIND in said else told_by(given),
        second=table.column(_SECOND).to_numpy().copy() if _SECOND in table.column_names else None,
        units=Units(*json.loads(said[_UNITS])) if _UNITS in said else None,
        windows=Windows(**json.loads(said[_WINDOWS])) if _WINDOWS in said else None,
    )


def as_arrow(targets: npt.NDArray[Any]) -> pa.Array:
    """Return targets as a column, (rows,) or (rows, values)."""
    if targets.ndim == 1:
        return pa.array(targets)
    return pa.FixedSizeListArray.from_arrays(pa.array(targets.reshape(-1)), targets.shape[1])


def _as_numpy(column: pa.Array) -> npt.NDArray[Any]:
    """Return targets that may be written to, as torch asks."""
    if isinstance(column, pa.FixedSizeListArray):
        values: npt.NDArray[Any] = column.flatten().to_numpy().reshape(len(column), -1).copy()
    else:
        values = column.to_numpy().copy()
    return values
