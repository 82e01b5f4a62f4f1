"""From raw rows to rows worth learning from: one pass of rules, each of which reports what it did."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from secateur.data.copies import copies_among, rows_of_several, same_within
from secateur.data.data_report import Example, RuleEffect, effect_on
from secateur.data.near_duplicates import SHINGLE_CHARS
from secateur.data.row_texts import Alike, HeldTexts, RowTexts
from secateur.data.text_rules import TextRules, before_and_after, steps_of
from secateur.errors import DataError
from secateur.readers.numbers import numbers_of

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class RowRules:
    """Which rows stay; see the parameters of the same names under ``clean``.

    ``min_confidence`` is None when the source has no confidence column; ``labelled`` is False when it has no labels;
    ``sets`` is True when a row has several labels, ``numbers`` when it has a number.
    """

    text: TextRules
    min_chars: int
    min_confidence: float | None
    label_conflicts: Literal["drop", "majority"]
    near_duplicate_threshold: float
    near_duplicate_chars: int = SHINGLE_CHARS
    near_duplicate_max_share: float = 1.0
    labelled: bool = True
    sets: bool = False
    numbers: bool = False

    def shared_by(self, labels: Indices) -> Indices:
        """Return the groups of which a share may go as near copies, from the number of each row's label.

        There are too many sets of labels, and numbers, for a share of each: all rows are one group.
        """
        return np.zeros_like(labels) if self.sets or self.numbers else labels

    @property
    def alike(self) -> Alike:
        """When two texts say nearly the same."""
        return Alike(self.near_duplicate_threshold, self.near_duplicate_chars)

    @property
    def copied_share(self) -> float | None:
        """Largest share of a label's rows that may go as near copies; None where there are no labels."""
        return self.near_duplicate_max_share if self.labelled else None


@dataclass(frozen=True)
class Cleaned:
    """The rows that stay, in the order of the source, and what each rule did.

    ``texts[i]`` and ``labels[i]`` belong to record ``rows[i]`` of the source. Rows with the same number in ``alike``
    say nearly the same, and belong into one part of a split. ``groups`` are the names of the source's own groups
    (authors, threads), None for a row that has none; it is None where there are none at all. ``times`` say when each
    was written, None where nobody asks.
    """

    texts: Sequence[str]
    labels: list[str]
    rows: Indices
    alike: Indices
    groups: list[str | None] | None
    effects: tuple[RuleEffect, ...]
    times: pa.ChunkedArray | None = None


def clean_rows(
    raw: pa.Table,
    rules: RowRules,
    *,
    num_proc: int,
    apart_from: Sequence[Cleaned] = (),
    texts: RowTexts | None = None,
) -> Cleaned:
    """Apply the rules, in this order: empty, text, time, length, confidence, judging rows, conflicts, equal, nearly.

    Of equal rows the first with the majority's label stays; of numbers that are far apart, the one next to the median.
    Of nearly equal ones the first stays, too, but all of them where their labels differ (what the similarity overlooks
    is what decides), and all of a label of which too large a share would go (that is how its texts look). The result
    does not depend on ``num_proc``.

    Args:
        raw: columns ``text``, ``label``, ``confidence``, ``row`` of ``tables.read_rows``.
        rules: which rows stay.
        num_proc: processes that clean texts, when there are enough rows.
        apart_from: rows that were given to judge; what repeats them, or is of one of their groups, is dropped.
        texts: of the rows where they lie in shards; the column ``text`` is not needed then.

    Raises:
        DataError: no row is left; the message names the rule that dropped most.
    """
    sieve = _usable(raw, rules, _held(raw, rules, num_proc=num_proc) if texts is None else texts)
    sieve.drop_undated()
    sieve.drop_rows("min_chars", sieve.left[sieve.texts.num_chars(sieve.left) < rules.min_chars])
    if rules.min_confidence is not None:
        confidence = pc.fill_null(raw["confidence"], 0.0).to_numpy()
        sieve.drop_rows("min_confidence", sieve.left[confidence[sieve.left] < rules.min_confidence])
    _keep_apart(sieve, rules, apart_from)
    if rules.labelled:
        outvoted = _far_apart if rules.numbers else _outvoted
        sieve.drop_rows("label_conflicts", outvoted(sieve, keep_majority=rules.label_conflicts == "majority"))
    first = sieve.texts.first_of_equal(sieve.left)
    sieve.drop_rows("exact_duplicates", sieve.left[first != np.arange(len(first))])
    if rules.near_duplicate_threshold < 1.0:
        _drop_near_duplicates(sieve, rules)
    return sieve.result()


def clean_given_rows(raw: pa.Table, rules: RowRules, *, num_proc: int, apart_from: Sequence[Cleaned] = ()) -> Cleaned:
    """Clean rows that were given to judge: all of them stay that have a text and a label, and repeat none of others.

    Raises:
        DataError: no row is left; the message names the rule that dropped most.
    """
    sieve = _usable(raw, rules, _held(raw, rules, num_proc=num_proc))
    _keep_apart(sieve, rules, apart_from)
    return sieve.result()


def _held(raw: pa.Table, rules: RowRules, *, num_proc: int) -> RowTexts:
    return HeldTexts(raw["text"], rules.text, rules.alike, num_proc=num_proc)


def _usable(raw: pa.Table, rules: RowRules, texts: RowTexts) -> "_Sieve":
    """Return the rows that have a text and a label, after the text steps."""
    sieve = _Sieve(raw, texts, numbers=rules.numbers)
    sieve.drop_rows("empty_text", np.flatnonzero(~texts.with_words()))
    if rules.labelled:
        sieve.drop_rows("missing_label", sieve.left[pc.is_null(raw["label"]).to_numpy()[sieve.left]])
    sieve.change(rules.text)
    return sieve


class _Sieve:
    """The rows that are left, and the record of why the others are gone."""

    def __init__(self, raw: pa.Table, texts: RowTexts, *, numbers: bool) -> None:
        self.texts = texts
        self.labels, self.label_numbers = _named(raw["label"])
        self.numbers = numbers_of(self.labels) if numbers else None
        self.left: Indices = np.arange(raw.num_rows, dtype=np.int64)
        self._source_rows: Indices = raw["row"].to_numpy()
        self.groups = _named(raw["group"])[0] if "group" in raw.column_names else None
        self._times: pa.ChunkedArray | None = raw["time"] if "time" in raw.column_names else None
        self._alike: Indices = np.arange(raw.num_rows, dtype=np.int64)
        self._effects: list[RuleEffect] = []

    def change(self, rules: TextRules) -> None:
        """Apply the text steps to the rows that are left."""
        bits = self.texts.clean(self.left)
        for index, (name, _) in enumerate(steps_of(rules)):
            touched = np.flatnonzero(bits & (1 << index))

            def example(row: int, name: str = name) -> Example:
                old, new = before_and_after(self.texts.came(row), rules, name)
                return Example(old, new, self._label(row))

            self._effects.append(effect_on(name, "changed", touched, example))

    def drop(self, rule: str, is_out: Callable[[int], bool]) -> None:
        """Drop the rows for which ``is_out`` holds."""
        self.drop_rows(rule, np.array([i for i in self.left.tolist() if is_out(i)], np.int64))

    def drop_rows(self, rule: str, rows: Indices) -> None:
        """Drop these rows; ``rows`` is ascending and a part of what is left."""
        self._effects.append(effect_on(rule, "dropped", rows, self._example, self._counted))
        self.left = np.setdiff1d(self.left, rows, assume_unique=True)
        if len(self.left) == 0:
            worst = max((e for e in self._effects if e.effect == "dropped"), key=lambda e: e.rows)
            if worst.rule.startswith("given_"):
                raise DataError(
                    f"no row is left after cleaning: of {len(self.texts)} rows to learn from {worst.rows} repeat "
                    "rows that were given to judge, or are of their groups; give rows to judge that are others"
                )
            masked = [e for e in self._effects if e.rule.startswith("mask_") and 2 * e.rows > worst.rows]
            after = "".join(f", after clean.{e.rule} had changed {e.rows} texts" for e in masked)
            raise DataError(
                f"no row is left after cleaning: clean dropped all {len(self.texts)}, most of them by the rule "
                f"{worst.rule} ({worst.rows}){after}; relax it, or check ingest.text_column"
            )

    def drop_undated(self) -> None:
        """Drop the rows of which nothing says when they were written, where somebody asks."""
        if self._times is not None:
            undated = np.flatnonzero(pc.is_null(self._times).to_numpy())
            self.drop_rows("missing_time", np.intersect1d(self.left, undated, assume_unique=True))

    def spare(self, rule: str, rows: Indices) -> None:
        """Record rows that a rule could have dropped, and that stay."""
        self._effects.append(effect_on(rule, "kept", rows, self._example, self._counted))

    def keep_together(self, alike: Indices) -> None:
        """Set the number that each row that is left shares with those that say nearly the same."""
        self._alike[self.left] = alike

    def result(self) -> Cleaned:
        return Cleaned(
            texts=self.texts.of(self.left),
            labels=self.labels_left(),
            rows=self._source_rows[self.left],
            alike=self._alike[self.left],
            groups=None if self.groups is None else [self.groups[i] for i in self.left],
            effects=tuple(self._effects),
            times=None if self._times is None else self._times.take(pa.array(self.left)),
        )

    def labels_left(self) -> list[str]:
        """Return the label of each row that is left; an empty one where it has none."""
        return [self._label(i) for i in self.left]

    @property
    def _counted(self) -> Sequence[str | None]:
        """The labels by which rows are counted; numbers are none."""
        return self.labels if self.numbers is None else ()

    def _example(self, row: int) -> Example:
        return Example(self.texts.now(row), None, self._label(row))

    def _label(self, row: int) -> str:
        return self.labels[row] or ""


def _named(column: pa.ChunkedArray) -> tuple[list[str | None], Indices]:
    """Return the name of each row, of which equal ones are one string, and its number."""
    encoded = pc.dictionary_encode(column.combine_chunks(), null_encoding="encode")
    names, numbers = encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)
    return [names[number] for number in numbers], numbers


def _by_text(sieve: _Sieve) -> Iterator[list[int]]:
    """Yield the rows of each text that several have, ascending."""
    for rows in rows_of_several(sieve.texts.first_of_equal(sieve.left)):
        yield sieve.left[rows].tolist()


def _outvoted(sieve: _Sieve, *, keep_majority: bool) -> Indices:
    """Return the rows that go because equal texts have other labels."""
    out: list[int] = []
    for rows in _by_text(sieve):
        votes = Counter(sieve.labels[i] for i in rows).most_common()
        if len(votes) == 1:
            continue
        strict = votes[0][1] > votes[1][1]
        winner = votes[0][0] if keep_majority and strict else None
        out += [i for i in rows if winner is None or sieve.labels[i] != winner]
    return np.array(sorted(out), np.int64)


def _far_apart(sieve: _Sieve, *, keep_majority: bool) -> Indices:
    """Return the rows that go because equal texts have numbers that are far apart: all, or those off the median."""
    assert sieve.numbers is not None
    numbers = sieve.numbers
    allowed, out = same_within(numbers[sieve.left]), list[int]()
    for rows in _by_text(sieve):
        own = numbers[rows]
        if own.max() - own.min() <= allowed:
            continue
        kept = rows[int(np.argmin(np.abs(own - np.median(own))))] if keep_majority else None
        out += [i for i in rows if i != kept]
    return np.array(sorted(out), np.int64)


def _drop_near_duplicates(sieve: _Sieve, rules: RowRules) -> None:
    """Drop the rows that nearly repeat an earlier one of their label, and spare those that are no mere copies."""
    first = sieve.texts.first_alike(sieve.left)
    labels = sieve.label_numbers[sieve.left]
    numbers = None if sieve.numbers is None else sieve.numbers[sieve.left]
    found = copies_among(first, labels, numbers=numbers, groups=rules.shared_by(labels), max_share=rules.copied_share)
    alike, left = sieve.left[first], sieve.left
    sieve.keep_together(alike)
    sieve.spare("near_duplicates", left[found.disagreeing])
    sieve.spare("near_duplicate_max_share", left[found.usual])
    sieve.drop_rows("near_duplicates", left[found.dropped])


def _keep_apart(sieve: _Sieve, rules: RowRules, judging: Sequence[Cleaned]) -> None:
    """Drop the rows that repeat those that judge, word for word or nearly, or are of one of their groups."""
    if not judging:
        return
    texts = [text for part in judging for text in part.texts]
    known = {text.casefold() for text in texts}
    given = (text.casefold() in known for text in sieve.texts.of(sieve.left))
    sieve.drop_rows("given_texts", sieve.left[np.fromiter(given, np.bool_, count=len(sieve.left))])
    if (groups := sieve.groups) is not None:
        theirs = {group for part in judging for group in part.groups or () if group is not None}
        sieve.drop("given_groups", lambda i: groups[i] in theirs)
    if rules.near_duplicate_threshold < 1.0:
        first = sieve.texts.first_alike(sieve.left, before=texts)
        labels = [*(label for part in judging for label in part.labels), *sieve.labels_left()]
        number = np.unique(np.array(labels, np.str_), return_inverse=True)[1].astype(np.int64)
        found = copies_among(
            first,
            number,
            numbers=numbers_of(labels) if rules.numbers else None,
            groups=rules.shared_by(number),
            max_share=rules.copied_share,
            num_before=len(texts),
        )
        left = sieve.left
        sieve.spare("given_near_copies", left[(found.disagreeing | found.usual)[len(texts) :]])
        sieve.drop_rows("given_near_copies", left[found.dropped[len(texts) :]])
