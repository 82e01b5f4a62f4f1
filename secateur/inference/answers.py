"""A finished model and a file of rows: every row with all its columns, and what the model says of it beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from secateur.data.windows import remark_on_length
from secateur.errors import DataError
from secateur.files import replacing, sync
from secateur.progress import progress
from secateur.readers.pairs import has_words
from secateur.readers.row_files import RowFile, texts_of
from secateur.readers.row_writers import require_columns, writing_rows

if TYPE_CHECKING:
    from secateur.kinds.base import Kind

WINDOW = 512
"""Rows that are in memory at once; within them a model is called with rows of similar length."""

_MAX_NAMED = 5


@dataclass(frozen=True)
class Answers:
    """What a model says of some rows.

    Attributes:
        columns: name -> a value for every row, or None; always the same names and types.
        num_cut: texts of which something is not read.
        num_long: texts that were read in windows.
        num_windows: of those.
        unanswered: reason -> rows that have None.
    """

    columns: Mapping[str, Sequence[Any]]
    num_cut: int = 0
    unanswered: Mapping[str, int] = field(default_factory=dict)
    num_long: int = 0
    num_windows: int = 0


@dataclass
class Told:
    """What a person should know after a file was answered.

    Attributes:
        rows: of the file.
        empty: those without a text, which have no answer.
        first_empty: numbers of the first of them, from 1.
        num_cut: texts of which something is not read.
        unanswered: reason -> rows without an answer, besides the empty ones.
        num_long: texts that were read in windows.
        num_windows: of those.
    """

    rows: int = 0
    empty: int = 0
    first_empty: list[int] = field(default_factory=list)
    num_cut: int = 0
    unanswered: dict[str, int] = field(default_factory=dict)
    num_long: int = 0
    num_windows: int = 0

    def remarks(self, max_length: int) -> list[str]:
        """Return a line for each thing that was not as it should be."""
        said = []
        if self.empty:
            more = ", ..." if self.empty > len(self.first_empty) else ""
            listed = f"{', '.join(map(str, self.first_empty))}{more}"
            what = "row has no text, and no answer" if self.empty == 1 else "rows have no text, and no answer"
            said.append(f"{self.empty} {what} (row {listed})")
        for reason, count in self.unanswered.items():
            said.append(f"{count} {'row has' if count == 1 else 'rows have'} no answer: {reason}")
        read = remark_on_length(self.rows, max_length, cut=self.num_cut, long=self.num_long, windows=self.num_windows)
        return [*said, *read]

    def count(self, texts: Sequence[str | None], asked: Sequence[int], answers: Answers | None) -> None:
        """Add a window of rows, of which those at the places ``asked`` have a text."""
        missing = sorted(set(range(len(texts))) - set(asked))
        self.first_empty += [self.rows + place + 1 for place in missing][: _MAX_NAMED - len(self.first_empty)]
        self.empty += len(missing)
        self.rows += len(texts)
        if answers is not None:
            self.num_cut += answers.num_cut
            self.num_long += answers.num_long
            self.num_windows += answers.num_windows
            for reason, count in answers.unanswered.items():
                self.unanswered[reason] = self.unanswered.get(reason, 0) + count


def answer_file(
    kind: "Kind",
    model: Any,
    rows: RowFile,
    out: Path,
    *,
    texts: Sequence[str],
    prefix: str,
    parameters: Mapping[str, Any],
) -> Told:
    """Let an open model answer every row, and write them in their order; nothing is written before the end.

    Args:
        kind: of the model.
        model: from ``Kind.open_model``.
        rows: of the file.
        out: a new file, which ``require_writable`` has let pass.
        texts: column of the texts, or the two of pairs.
        prefix: of the columns that are added.
        parameters: some of the kind's.

    Raises:
        DataError: the file has a column of such a name already, or one that ``out`` cannot hold.
        CheckFailed: the model computes no numbers.
    """
    kind.warm_up(model, label="the model")
    schema, added = _schema(kind, model, rows, prefix=prefix, parameters=parameters)
    require_columns(out, schema)
    told = Told()
    with progress("predict", total=rows.num_rows) as advance, replacing(out) as temporary:
        with writing_rows(temporary, schema, ending=out.suffix.lower()) as write:
            for batch in rows.batches(WINDOW):
                found = texts_of(batch, texts)
                asked = [place for place, one in enumerate(found) if has_words(one)]
                answers = None
                if asked:
                    numbers = [told.rows + place for place in asked]
                    given = [str(found[place]) for place in asked]
                    answers = kind.answer_rows(model, given, numbers=numbers, parameters=parameters)
                told.count(found, asked, answers)
                new = [_column(one, answers, asked, len(found), prefix=prefix) for one in added]
                write(pa.record_batch([*batch.columns, *new], schema=schema))
                advance(steps=batch.num_rows)
        sync(temporary)
    return told


def require_free(rows: RowFile, names: Sequence[str], *, prefix: str) -> None:
    """Refuse columns that the file has already.

    Raises:
        DataError: naming the first, and what would work.
    """
    taken = [prefix + name for name in names if prefix + name in rows.schema.names]
    if taken:
        raise DataError(f"{rows.name} has a column {taken[0]!r} already; --prefix {prefix}new_ names the answers so")


def _schema(
    kind: "Kind", model: Any, rows: RowFile, *, prefix: str, parameters: Mapping[str, Any]
) -> tuple[pa.Schema, list[pa.Field]]:
    """Return the columns of what is written, and those of them that are added."""
    sample = kind.answer_rows(
        model, kind.greetings, numbers=list(range(len(kind.greetings))), parameters=parameters
    ).columns
    added = [pa.field(prefix + name, pa.array(values).type) for name, values in sample.items()]
    require_free(rows, list(sample), prefix=prefix)
    schema = rows.schema
    for column in added:
        schema = schema.append(column)
    return schema, added


def _column(column: pa.Field, answers: Answers | None, asked: Sequence[int], num_rows: int, *, prefix: str) -> pa.Array:
    values: list[Any] = [None] * num_rows
    if answers is not None:
        for place, value in zip(asked, answers.columns[column.name.removeprefix(prefix)], strict=True):
            values[place] = value
    return pa.array(values, column.type)
