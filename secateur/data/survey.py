"""A look at rows before anything is decided about them: how many, how long, which labels, what cleaning will leave."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from secateur.data.cleaning import Cleaned, RowRules, clean_rows
from secateur.data.cleaning_remarks import blame
from secateur.data.html_text import remark_on_html
from secateur.data.near_duplicates import first_of_equal
from secateur.data.rare_labels import without_rare
from secateur.data.scripts import Script, script_of
from secateur.data.time_split import require_different
from secateur.errors import DataError
from secateur.readers.label_sets import NONE, counted
from secateur.readers.label_spelling import LabelRules
from secateur.readers.labels import MIN_ROWS_PER_LABEL, require_classes
from secateur.readers.numbers import numbers_of
from secateur.readers.pairs import has_words, num_texts, texts_in
from secateur.readers.pieces import pieces

_CLEANED_ROWS = 20_000
_CLEANED_CHARS = 10_000_000
_TOKENIZED_ROWS = 2_000
_HIGH = 0.95

CountTokens = Callable[[Sequence[str]], Sequence[int]]
"""Texts -> the tokens of each, special ones included."""


@dataclass(frozen=True)
class Lengths:
    """Quantiles of a length; ``low`` is the first hundredth, ``high`` the 95th."""

    low: int
    median: int
    high: int
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int]) -> Self:
        """Take the quantiles of at least one length; each is a length that occurs."""
        low, median, high = np.quantile(lengths, [0.01, 0.5, _HIGH], method="higher").astype(int).tolist()
        return cls(low, median, high, max(lengths))


@dataclass(frozen=True)
class Survey:
    """What was seen.

    Attributes:
        rows: records of the source.
        unusable: of them, those without a text or without a label.
        repeated: usable rows whose text occurred before.
        kept: rows that cleaning leaves; exact, unless ``is_estimate``.
        labels: label -> rows that cleaning leaves of it, the most frequent first; empty where there are no labels.
        chars: characters of the usable texts, of those of a pair each by itself.
        tokens: tokens of the cleaned texts, of a pair those of both; None without a tokenizer.
        tokens_per_word: of the same texts, words being what stands between spaces; None without a tokenizer.
        script: of the letters.
        is_estimate: only a part of the rows was cleaned, spread evenly over all of them.
        given: name of a part -> label -> rows that were given to it; under an empty name all, of several labels each.
        together: characters of both texts of the usable pairs; None where a row is one text.
        without_label: rows that cleaning leaves of those that have none of several labels; None where each has one.
        numbers: least, median and largest of the rows that cleaning leaves, where each has one instead of a label.
        remarks: what a person should know of the texts, one line each.
    """

    rows: int
    unusable: int
    repeated: int
    kept: int
    labels: Mapping[str, int]
    chars: Lengths
    tokens: Lengths | None
    tokens_per_word: float | None
    script: Script
    is_estimate: bool
    given: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    together: Lengths | None = None
    without_label: int | None = None
    numbers: tuple[float, float, float] | None = None
    remarks: tuple[str, ...] = ()

    @property
    def sets(self) -> bool:
        """Whether rows have several labels each."""
        return self.without_label is not None

    @property
    def read_chars(self) -> Lengths:
        """Characters that a model reads at once."""
        return self.together or self.chars

    @property
    def units(self) -> str:
        """What a model reads at once."""
        return "texts" if self.together is None else "pairs"

    @property
    def least(self) -> str:
        """What stands before a number of rows that rests on ``kept`` with a margin."""
        return "at least " if self.is_estimate else ""


@dataclass(frozen=True)
class First:
    """What decides the rules of cleaning: script and characters of the usable texts, of pairs also of both together."""

    script: Script
    chars: Lengths
    together: Lengths | None = None


def first_look(raw: pa.Table, *, labelled: bool) -> First:
    """Look at the texts as they came.

    Args:
        raw: columns ``text``, ``label``, ``confidence``, ``row`` of ``tables.read_rows``.
        labelled: whether a row needs a label.

    Raises:
        DataError: no row has a text (and a label).
    """
    usable = _usable(raw, labelled=labelled)
    if len(usable) == 0:
        raise DataError(f"none of the {raw.num_rows} rows has a text{' and a label' if labelled else ''}")
    texts = raw["text"].take(_spread(usable, _CLEANED_ROWS)).to_pylist()
    stripped = [[len(one.strip()) for one in texts_in(text)] for text in texts]
    together = Lengths.of([sum(found) for found in stripped]) if num_texts(texts) == 2 else None
    return First(script_of(texts), Lengths.of([length for found in stripped for length in found]), together)


def survey(
    raw: pa.Table,
    rules: RowRules,
    *,
    given: Mapping[str, Cleaned] | None = None,
    spelling: LabelRules | None = None,
    min_labels: int = 2,
    count_tokens: CountTokens | None = None,
) -> Survey:
    """Clean the rows, or so many of them that it takes seconds, and count.

    Args:
        raw: as in ``first_look``.
        rules: of the cleaning.
        given: cleaned rows that were given to judge, by the name of their part; what repeats them does not train.
        spelling: what happens to rare labels.
        min_labels: different ones that there must be, where there are labels.
        count_tokens: of the model that will read the texts, if it is at hand.

    Raises:
        DataError: no row is left after cleaning, a label has too few, or times or groups cannot be divided (the last
            two are told only where all rows were cleaned).
    """
    given = given or {}
    usable = _usable(raw, labelled=rules.labelled)
    table = raw if len(usable) == raw.num_rows else raw.take(usable)
    first = first_look(raw, labelled=rules.labelled)
    distinct = _num_distinct(table)
    looked_at = _spread(
        np.arange(len(usable)), min(_CLEANED_ROWS, max(2000, _CLEANED_CHARS // (first.chars.median + 1)))
    )
    part = table.take(looked_at)
    cleaned, _, _ = without_rare(
        clean_rows(part, rules, num_proc=1, apart_from=tuple(given.values())), {}, spelling or LabelRules()
    )
    is_estimate = len(looked_at) < len(usable)
    if not is_estimate:
        _require_different(cleaned, parts=MIN_ROWS_PER_LABEL - len(given))
    if rules.labelled and not is_estimate:
        lost = blame(raw, cleaned, min_rows=MIN_ROWS_PER_LABEL)
        remedy = f"{lost}add rows, or remove the label"
        least = MIN_ROWS_PER_LABEL - len(given)
        require_classes(cleaned.labels, when="after cleaning", remedy=remedy, min_labels=min_labels, min_rows=least)
    # Rows repeat each other more often among all rows than in a part of them, so equal ones are counted among all.
    of_part = _num_distinct(part)
    growth = distinct / of_part if is_estimate else 1.0
    labels = counted(cleaned.labels if rules.labelled and not rules.numbers else [])
    numbers = np.sort(numbers_of(cleaned.labels)) if rules.numbers else None
    sample = [cleaned.texts[i] for i in _spread(np.arange(len(cleaned.texts)), _TOKENIZED_ROWS)]
    tokens = list(count_tokens(sample)) if count_tokens else None
    words = sum(max(1, len(text.split())) for text in sample)
    return Survey(
        rows=raw.num_rows,
        unusable=raw.num_rows - len(usable),
        repeated=len(usable) - distinct,
        kept=int(growth * len(cleaned.texts)),
        labels={name: int(growth * count) for name, count in labels.most_common()},
        chars=first.chars,
        tokens=Lengths.of(tokens) if tokens else None,
        tokens_per_word=sum(tokens) / words if tokens else None,
        script=first.script,
        is_estimate=is_estimate,
        together=first.together,
        given={part: _by_label(rows.labels, rules) for part, rows in given.items()},
        without_label=int(growth * cleaned.labels.count(NONE)) if rules.sets else None,
        numbers=None if numbers is None else (float(numbers[0]), float(np.median(numbers)), float(numbers[-1])),
        remarks=() if rules.text.strip_html else tuple(remark_on_html(cleaned.texts)),
    )


def _by_label(labels: Sequence[str], rules: RowRules) -> Mapping[str, int]:
    """Count the rows of each label; all of them under an empty name where there are none, several or numbers."""
    if rules.numbers:
        return {"": len(labels)}
    return {**counted(labels), **({"": len(labels)} if rules.sets else {})}


def _require_different(cleaned: Cleaned, *, parts: int) -> None:
    """Refuse times, or else groups, of which there are fewer than parts that come from these rows."""
    if parts > 1 and cleaned.times is not None:
        require_different(len(cleaned.times.unique()), parts=parts, column="ingest.time_column")
    elif parts > 1 and cleaned.groups is not None:
        alone = cleaned.groups.count(None)
        require_different(len({*cleaned.groups} - {None}) + alone, parts=parts, column="ingest.group_column")


def _usable(raw: pa.Table, *, labelled: bool) -> NDArray[np.int64]:
    """Return the rows with a text, and a label where there are labels."""
    has_text = np.fromiter(map(has_words, _values_of(raw["text"])), np.bool_)
    has_label = pc.is_valid(raw["label"]).to_numpy()
    return np.flatnonzero(has_text & (has_label | (not labelled)))


def _values_of(column: pa.ChunkedArray) -> Iterator[str | None]:
    """Yield the values one after the other, so that few of them are Python's at a time."""
    for piece in pieces(column):
        yield from piece.to_pylist()


def _num_distinct(rows: pa.Table) -> int:
    """Count the different texts, whatever their case and the blanks around them; none is null."""
    first = first_of_equal((text or "").strip() for text in _values_of(rows["text"]))
    return int(np.count_nonzero(first == np.arange(len(first))))


def _spread(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return at most ``count`` of the rows, spread evenly, in their order."""
    return rows if len(rows) <= count else rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]
