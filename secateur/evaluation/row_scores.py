"""What a finished model is worth on somebody's rows: scores with intervals, slices, and labels that are confused."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from secateur.errors import DataError
from secateur.inference.answers import WINDOW
from secateur.progress import progress
from secateur.readers.label_cells import SEPARATORS, labels_of
from secateur.readers.label_sets import counted, labels_in
from secateur.readers.layout import Columns
from secateur.readers.numbers import with_points
from secateur.readers.pairs import has_words
from secateur.readers.row_files import RowFile, texts_of, values_of

if TYPE_CHECKING:
    from secateur.kinds.base import Kind

_SAMPLES, _LEVEL, _SEED = 1000, 0.95, 0
_MAX_SLICES = 100
_MAX_NAMED = 10
NOTHING = "(none)"
"""The slice of the rows that have no value in its column."""


@dataclass(frozen=True)
class Measured:
    """What the scores of some rows are made of.

    Attributes:
        values: a few numbers of every row, (N, K), as its kind has them.
        num_cut: texts of which something is not read.
        num_long: texts that were read in windows.
        num_windows: of those.
    """

    values: npt.NDArray[np.float64]
    num_cut: int = 0
    num_long: int = 0
    num_windows: int = 0


@dataclass(frozen=True)
class Question:
    """What is asked of a file.

    Attributes:
        texts: its column of texts, or the two of pairs.
        labels: that of the labels, or of several labels one for each; none where there are none.
        separator: stands between the labels of a cell; None = a cell holds one, or a list.
        by: columns whose values are slices.
        drop_unknown: rows whose label the model does not know are left out, and not refused.
    """

    texts: Sequence[str]
    labels: Sequence[str]
    by: Sequence[str] = ()
    drop_unknown: bool = False
    separator: str | None = None


@dataclass(frozen=True)
class _Rows:
    texts: list[str]
    labels: list[str | None]
    slices: dict[str, list[str]]
    left_out: dict[str, int]

    def kept(self, keep: Sequence[bool], reason: str) -> "_Rows":
        """Return some of the rows, with why the others are left out."""
        lost = len(keep) - sum(keep)
        if not lost:
            return self

        def of(values: list[Any]) -> list[Any]:
            return [value for value, stays in zip(values, keep, strict=True) if stays]

        slices = {name: of(values) for name, values in self.slices.items()}
        return _Rows(of(self.texts), of(self.labels), slices, {**self.left_out, reason: lost})


def score_file(
    kind: "Kind",
    model: Any,
    rows: RowFile,
    question: Question,
    *,
    learned: Callable[[Sequence[str]], int | None] | None = None,
) -> dict[str, Any]:
    """Score an open model on a file; nothing is trained and nothing written.

    Args:
        kind: of the model.
        model: see ``Kind.open_model``.
        rows: of the file.
        question: what is asked of them.
        learned: counts the texts that the model has learned from; None where nobody knows.

    Returns:
        JSON values: ``rows`` that were scored, ``left_out`` (reason -> rows), ``cut`` (texts of which something is not
        read), ``long`` (texts that were read in windows) and ``windows`` (of those), ``learned`` (texts, None
        where nobody knows), ``scores`` (name -> value, low, high of the 95 % interval over resampled rows), ``slices``
        (column -> value -> rows and scores, the most frequent value first) and ``confusion`` (labels, and counts by
        true label and the one that is said).

    Raises:
        DataError: no row is left, a label is none that the model knows, or a slice column has too many values.
    """
    read = _usable(kind, model, _read(rows, question, sets=kind.label_sets, numbers=kind.tells_numbers), rows, question)
    found = _measured(kind, model, read)

    def scores(values: npt.NDArray[np.float64]) -> dict[str, Any]:
        drawn = kind.scores_of(model, values, samples=_SAMPLES, level=_LEVEL, seed=_SEED)
        return {name: asdict(interval) for name, interval in drawn.items()}

    counts = kind.confusion_of(model, found.values)
    return {
        "kind": kind.name,
        "deciding": kind.measure.name,
        "rows": len(read.texts),
        "left_out": read.left_out,
        "cut": found.num_cut,
        "long": found.num_long,
        "windows": found.num_windows,
        "learned": None if learned is None else learned(read.texts),
        "scores": scores(found.values),
        "slices": {
            column: {
                value: {"rows": count, "scores": scores(found.values[np.array(values) == value])}
                for value, count in Counter(values).most_common()
            }
            for column, values in read.slices.items()
        },
        "confusion": None if counts is None else {"labels": list(model.labels), "counts": counts.tolist()},
    }


def _read(rows: RowFile, question: Question, *, sets: bool, numbers: bool) -> _Rows:
    columns = dict.fromkeys([*question.by, *question.labels])
    held: dict[str, list[Any]] = {name: [] for name in columns}
    texts: list[Any] = []
    for batch in rows.batches(1 << 13):
        texts += texts_of(batch, question.texts)
        for name, values in held.items():
            values.extend(values_of(batch, name))
    labels: list[str | None] = [None] * rows.num_rows
    if question.labels:
        first, *more = question.labels
        named = Columns(text="", label=first, confidence=None, more=tuple(more), sets=sets)
        labels = labels_of(held, named, separator=question.separator).to_pylist()
        labels = with_points(labels)[0] if numbers else labels
    slices = {name: [NOTHING if value in (None, "") else str(value) for value in held[name]] for name in question.by}
    return _Rows(texts, labels, slices, {})


def _usable(kind: "Kind", model: Any, read: _Rows, rows: RowFile, question: Question) -> _Rows:
    """Return the rows that can be scored.

    Raises:
        DataError: as ``score_file``.
    """
    read = read.kept([has_words(text) for text in read.texts], "no text")
    if question.labels:
        named = ", ".join(question.labels)
        read = read.kept([label is not None for label in read.labels], f"no label in {named!r}")
        counts = counted(map(str, read.labels))
        unknown = {*kind.unknown_labels(model, list(counts))}
        if unknown and not question.drop_unknown:
            said = _said_of(unknown, counts, rows, model, numbers=kind.tells_numbers and not model.grades)
            raise DataError(said + (_taken_apart(unknown, model.labels) if kind.label_sets else ""))
        known = [not unknown.intersection(labels_in(str(label))) for label in read.labels]
        read = read.kept(known, "a label that the model does not know")
    if not read.texts:
        why = ", ".join(f"{count} have {reason}" for reason, count in read.left_out.items())
        raise DataError(f"{rows.name}: no row is left to score: {why}")
    for column, values in read.slices.items():
        if (several := len(set(values))) > _MAX_SLICES:
            raise DataError(
                f"--by {column}: {rows.name} has {several} different values in it; slices need rows, so at most "
                f"{_MAX_SLICES} are scored"
            )
    return read


def _said_of(unknown: set[str], counts: Mapping[str, int], rows: RowFile, model: Any, *, numbers: bool) -> str:
    most = sorted(unknown, key=lambda label: (-counts[label], label))
    listed = ", ".join(
        f"{label!r} ({counts[label]} row{'s' if counts[label] > 1 else ''})" for label in most[:_MAX_NAMED]
    )
    more = f" and {len(most) - _MAX_NAMED} more" if len(most) > _MAX_NAMED else ""
    if numbers:
        return f"{rows.name} has labels that are no numbers: {listed}{more}; --unknown drop leaves their rows out"
    known = f"; it knows {', '.join(model.labels)}" if model.labels else ""
    return (
        f"{rows.name} has labels that the model does not know: {listed}{more}{known}; --unknown drop leaves their "
        "rows out"
    )


def _taken_apart(unknown: set[str], known: Sequence[str]) -> str:
    """Return what takes cells apart that hold several labels of a model; nothing where they do not."""
    for sign in SEPARATORS:
        joined = [label for label in unknown if sign in label]
        if joined and all({part.strip() for part in label.split(sign)} <= {*known} for label in joined):
            return f"; -S 'ingest.label_separator=\"{sign}\"' takes a cell such as {min(joined)!r} apart"
    return ""


def _measured(kind: "Kind", model: Any, read: _Rows) -> Measured:
    found = []
    with progress("evaluate", total=len(read.texts)) as advance:
        for start in range(0, len(read.texts), WINDOW):
            window = slice(start, start + WINDOW)
            found.append(kind.measure_rows(model, read.texts[window], read.labels[window]))
            advance(steps=len(read.texts[window]))
    return Measured(
        np.concatenate([one.values for one in found]),
        num_cut=sum(one.num_cut for one in found),
        num_long=sum(one.num_long for one in found),
        num_windows=sum(one.num_windows for one in found),
    )
