"""A labelled table for a model that exists already: its own labels, its own tokenizer."""

import tempfile
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from secateur.data.indicators import indicated, strata_of
from secateur.data.number_targets import number_targets
from secateur.data.number_targets import strata_of as strata_of_numbers
from secateur.data.text_rules import TextRules, clean_texts
from secateur.data.tokens import TokenRows, as_arrow, read_tokens, tokenize
from secateur.data.units import Units
from secateur.errors import DataError
from secateur.kinds.registry import DEFAULT, kind_named
from secateur.readers.grades import grades_in
from secateur.readers.label_sets import counted, renamed
from secateur.readers.label_spelling import settle_labels
from secateur.readers.labels import label_names
from secateur.readers.layout import Found
from secateur.readers.numbers import spelled
from secateur.readers.pairs import has_words
from secateur.readers.reading import Reading
from secateur.readers.tables import encoding_for, format_of, read_rows
from secateur.sources.locations import PLAIN_TEXT, locate

_ASKED_BY = "--data"


@dataclass(frozen=True)
class Labelled:
    """Texts, the index of the label of each, and what a person should know about the table.

    Of several labels per row ``labels`` holds 0 and 1 for every label, (rows, C); of numbers the number, (rows,).
    """

    texts: list[str]
    labels: list[int] | NDArray[Any]
    remarks: tuple[str, ...]

    @property
    def strata(self) -> NDArray[np.int64]:
        """What every part of a split has its share of, (rows,)."""
        if isinstance(self.labels, np.ndarray):
            return strata_of(self.labels) if self.labels.ndim == 2 else strata_of_numbers(self.labels)
        return np.asarray(self.labels)

    def groups(self) -> NDArray[np.int64]:
        """Return a number for each text that those with the same words share, whatever their case and spacing, (N,)."""
        numbers: dict[str, int] = {}
        folded = (" ".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in self.texts)
        return np.array([numbers.setdefault(words, len(numbers)) for words in folded], np.int64)


def read_labelled(data: str, reading: Reading, *, labels: Sequence[str]) -> Labelled:
    """Read texts and the indices of their labels.

    Rows without a text or a label are left out. Labels are compared as text; a model that never named its labels
    (``LABEL_0``, ``LABEL_1``, ...) takes the numbers.

    Args:
        data: a CSV, TSV, JSONL, Parquet or Excel file, or ``package:NAME/path``.
        reading: its columns, whether a row has several labels, and how the file is written.
        labels: the model's labels, in index order; no matter where it tells numbers.

    Raises:
        DataError: there is no such file or column, it holds a label that the model does not know, or no row at all.
    """
    path, found = _found(data, reading)
    if reading.columns.numbers:
        return _numbered(found, reading, name=path.name, grades=grades_in(dict(enumerate(labels))))
    table = found.rows
    index_of, sets = indices_of(labels), reading.columns.sets
    spelled = table["label"].to_pylist()
    spelling = {name: as_known(name, index_of) for name in counted(spelled)}
    names = [renamed(name, spelling, sets=sets) for name in spelled]
    pairs = [
        (words, name)
        for words, name in zip(table["text"].to_pylist(), names, strict=True)
        if name is not None and has_words(words)
    ]
    counts = counted(name for _, name in pairs)
    unseen = sorted(name for name in counts if name not in index_of)
    if unseen:
        raise DataError(
            f"{_ASKED_BY}: {path.name} has labels that the model has not: {', '.join(unseen[:10])}; "
            f"it knows {', '.join(labels)}"
        )
    if not pairs:
        raise DataError(f"{_ASKED_BY}: {path.name} holds no row with both a text and a label")
    if len(counts) < 2 and not sets:
        raise DataError(
            f"{_ASKED_BY}: all {len(pairs)} rows of {path.name} have the label {pairs[0][1]!r}; two labels or more are "
            "needed to see what a cut costs"
        )
    if sets and not counts:
        raise DataError(f"{_ASKED_BY}: no row of {path.name} has a label, so that nothing tells what a cut costs")
    left_out = table.num_rows - len(pairs)
    said = (f"{path.name}: {left_out} of {table.num_rows} rows have no text or no label, and are left out",)
    texts, known = [words for words, _ in pairs], [str(name) for _, name in pairs]
    remarks = (*found.remarks, *(said if left_out else ()))
    if not sets:
        return Labelled(texts, [index_of[name] for name in known], remarks)
    return Labelled(texts, indicated(known, names=labels).values, remarks)


def read_texts_of(data: str, reading: Reading) -> Labelled:
    """Read texts whose labels a model is not told; where a column of them is named, rows have the index of theirs.

    Args:
        data: as ``read_labelled``.
        reading: its columns; without a label column all rows have 0, and plain text is a row per line.

    Raises:
        DataError: there is no such file or column, or no row.
    """
    if reading.columns.label is None and reading.file_format == "auto" and Path(data).suffix.lower() in PLAIN_TEXT:
        reading = replace(reading, file_format="lines")
    path, found = _found(data, reading)
    table = found.rows
    pairs = [
        (words, name)
        for words, name in zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True)
        if has_words(words) and (reading.columns.label is None or name is not None)
    ]
    if not pairs:
        raise DataError(f"{_ASKED_BY}: {path.name} holds no row with a text")
    left_out = table.num_rows - len(pairs)
    what = "no text" if reading.columns.label is None else "no text or no label"
    said = (f"{path.name}: {left_out} of {table.num_rows} rows have {what}, and are left out",)
    names = {name: index for index, name in enumerate(label_names(str(name) for _, name in pairs))}
    remarks = (*found.remarks, *(said if left_out else ()))
    return Labelled([words for words, _ in pairs], [names[str(name)] for _, name in pairs], remarks)


def _found(data: str, reading: Reading) -> tuple[Path, Found]:
    """Return a file and what was read of it.

    Raises:
        DataError: there is none, or nothing in it.
    """
    location = locate(data, asked_by=_ASKED_BY)
    if location.path is None or not location.path.is_file():
        raise DataError(f"{_ASKED_BY}: there is no file {data!r}; it takes CSV, TSV, JSONL, Parquet and Excel")
    path = location.path
    if path.stat().st_size == 0:
        raise DataError(f"{_ASKED_BY}: {path.name} is empty (0 bytes)")
    file_format = format_of(path, reading.file_format)
    encoding = encoding_for(path, file_format, asked=reading.encoding, kind=location.kind, query=reading.layout.query)
    found = read_rows(path, file_format=file_format, encoding=encoding, columns=reading.columns, layout=reading.layout)
    return path, found


def _numbered(found: Found, reading: Reading, *, name: str, grades: Sequence[str]) -> Labelled:
    """Return rows with a number each; of grades with its place among those that the model knows.

    Raises:
        DataError: there is none, a cell holds no number, or none of the grades, or all are equal.
    """
    settled = settle_labels(found.rows, reading.labels, column=str(reading.columns.label))
    texts, labels = settled.rows["text"].to_pylist(), settled.rows["label"].to_pylist()
    kept = [place for place, label in enumerate(labels) if label is not None and has_words(texts[place])]
    if not kept:
        raise DataError(f"{_ASKED_BY}: {name} holds no row with both a text and a number")
    values = number_targets([labels[place] for place in kept]).values
    if grades:
        index_of = {float(grade): index for index, grade in enumerate(grades)}
        if unseen := sorted({value for value in values.tolist() if value not in index_of}):
            raise DataError(
                f"{_ASKED_BY}: {name} has grades that the model has not: {', '.join(map(spelled, unseen[:10]))}; it "
                f"knows {', '.join(grades)}"
            )
        values = np.array([index_of[value] for value in values.tolist()], np.float64)
    remarks = (*found.remarks, *settled.remarks)
    return Labelled([texts[place] for place in kept], values, remarks)


def tokenize_labelled(
    data: Labelled, *, tokenizer: Any, max_length: int, rules: TextRules | None, kind: str = DEFAULT
) -> tuple[TokenRows, int]:
    """Tokenise texts, cleaned as those that the model was trained on when its rules are known.

    Returns:
        The rows, and how many of them were cut.
    """
    cleaned = clean_texts(data.texts, rules)[0] if rules else data.texts
    numbers = kind_named(kind).tells_numbers
    labels = as_arrow(data.labels) if isinstance(data.labels, np.ndarray) else pa.array(data.labels, pa.int64())
    columns = {"text": pa.array(cleaned, pa.string()), "label": labels}
    with tempfile.TemporaryDirectory() as folder:
        table, file = Path(folder) / "rows.parquet", Path(folder) / "rows.arrow"
        pq.write_table(pa.table({**columns, "row": pa.array(np.arange(len(cleaned)), pa.int64())}), table)
        units = Units.of(np.asarray(data.labels)) if numbers else None
        cut = tokenize(table, tokenizer=tokenizer, max_length=max_length, out=file, kind=kind, units=units)
        return read_tokens(file), cut


def as_known(name: str | None, known: Mapping[str, int]) -> str | None:
    """Return the model's spelling of a number that a table writes with a fraction (``1.0``), or of a boolean."""
    if name is None or name in known:
        return name
    others = (name.removesuffix(".0"), name.lower() if name in ("True", "False") else name)
    return next((other for other in others if other in known), name)


def indices_of(labels: Sequence[str]) -> Mapping[str, int]:
    """Return the index of every label of a model, and of the numbers of one that never named its labels."""
    named = {name: index for index, name in enumerate(labels)}
    if set(labels) == {f"LABEL_{index}" for index in range(len(labels))}:
        named |= {str(index): index for index in range(len(labels))}
    return named
