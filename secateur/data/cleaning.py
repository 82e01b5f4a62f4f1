"""From raw rows to rows worth learning from: one pass of rules, each of which reports what it did."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from secateur.data.data_report import Example, RuleEffect, effect_on
from secateur.data.near_duplicates import SHINGLE_CHARS, representatives
from secateur.data.parallel import clean_texts_in_processes
from secateur.data.text_rules import TextRules, before_and_after, steps_of
from secateur.errors import DataError

Mask = NDArray[np.bool_]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class RowRules:
    """Which rows stay; see the parameters of the same names under ``clean``.

    ``min_confidence`` is None when the source has no confidence column; ``labelled`` is False when it has no labels.
    """

    text: TextRules
    min_chars: int
    min_confidence: float | None
    label_conflicts: Literal["drop", "majority"]
    near_duplicate_threshold: float
    near_duplicate_chars: int = SHINGLE_CHARS
    near_duplicate_max_share: float = 1.0
    labelled: bool = True


@dataclass(frozen=True)
class Cleaned:
    """The rows that stay, in the order of the source, and what each rule did.

    ``texts[i]`` and ``labels[i]`` belong to record ``rows[i]`` of the source. Rows with the same number in ``groups``
    say nearly the same, and belong into one part of a split.
    """

    texts: list[str]
    labels: list[str]
    rows: Indices
    groups: Indices
    effects: tuple[RuleEffect, ...]


def clean_rows(raw: pa.Table, rules: RowRules, *, num_proc: int, apart_from: Sequence[str] = ()) -> Cleaned:
    """Apply the rules, in this order: empty, text steps, length, confidence, conflicts, equal, nearly equal.

    Of equal rows the first with the majority's label stays. Of nearly equal ones the first stays, too, but all of them
    where their labels differ (what the similarity overlooks is what decides), and all of a label of which too large
    a share would go (that is how its texts look). The result does not depend on ``num_proc``.

    Args:
        raw: columns ``text``, ``label``, ``confidence``, ``row`` of ``tables.read_rows``.
        rules: which rows stay.
        num_proc: processes that clean texts, when there are enough rows.
        apart_from: cleaned texts of other rows; equal ones are dropped.

    Raises:
        DataError: no row is left; the message names the rule that dropped most.
    """
    sieve = _usable(raw, rules, num_proc=num_proc)
    sieve.drop("min_chars", lambda i: len(sieve.texts[i]) < rules.min_chars)
    if rules.min_confidence is not None:
        least = rules.min_confidence
        confidence = raw["confidence"].to_pylist()
        sieve.drop("min_confidence", lambda i: (confidence[i] or 0.0) < least)
    if apart_from:
        tested = {text.casefold() for text in apart_from}
        sieve.drop("test_source", lambda i: sieve.texts[i].casefold() in tested)
    if rules.labelled:
        sieve.drop_rows("label_conflicts", _outvoted(sieve, keep_majority=rules.label_conflicts == "majority"))
    first = _first_alike(sieve, rules, threshold=1.0)
    sieve.drop_rows("exact_duplicates", sieve.left[first != np.arange(len(first))])
    if rules.near_duplicate_threshold < 1.0:
        _drop_near_duplicates(sieve, rules)
    return sieve.result()


def clean_test_rows(raw: pa.Table, rules: RowRules, *, num_proc: int) -> Cleaned:
    """Clean rows that were given to test: all of them that have a text and a label stay.

    Raises:
        DataError: no row is left; the message names the rule that dropped most.
    """
    return _usable(raw, rules, num_proc=num_proc).result()


def _usable(raw: pa.Table, rules: RowRules, *, num_proc: int) -> "_Sieve":
    """Return the rows that have a text and a label, after the text steps."""
    sieve = _Sieve(raw)
    labels, texts = sieve.labels, sieve.texts
    sieve.drop("empty_text", lambda i: not (texts[i] and not texts[i].isspace()))
    if rules.labelled:
        sieve.drop("missing_label", lambda i: labels[i] is None)
    sieve.change(rules.text, num_proc=num_proc)
    return sieve


class _Sieve:
    """The rows that are left, and the record of why the others are gone."""

    def __init__(self, raw: pa.Table) -> None:
        self.texts: list[str] = [text or "" for text in raw["text"].to_pylist()]
        self.labels: list[str | None] = raw["label"].to_pylist()
        encoded = pc.dictionary_encode(raw["label"].combine_chunks(), null_encoding="encode")
        self.label_numbers: Indices = encoded.indices.to_numpy().astype(np.int64)
        self.left: Indices = np.arange(raw.num_rows, dtype=np.int64)
        self._source_rows: Indices = raw["row"].to_numpy()
        self._groups: Indices = np.arange(raw.num_rows, dtype=np.int64)
        self._effects: list[RuleEffect] = []

    def change(self, rules: TextRules, *, num_proc: int) -> None:
        """Apply the text steps to the rows that are left."""
        before = [self.texts[i] for i in self.left]
        after, changed = clean_texts_in_processes(before, rules, num_proc=num_proc)
        bits = np.array(changed, np.int64)
        for index, (name, _) in enumerate(steps_of(rules)):
            touched = np.flatnonzero(bits & (1 << index))

            def example(position: int, name: str = name) -> Example:
                old, new = before_and_after(before[position], rules, name)
                return Example(old, new, self._label(int(self.left[position])))

            self._effects.append(effect_on(name, "changed", touched, example))
        for i, text in zip(self.left.tolist(), after, strict=True):
            self.texts[i] = text

    def drop(self, rule: str, is_out: Callable[[int], bool]) -> None:
        """Drop the rows for which ``is_out`` holds."""
        self.drop_rows(rule, np.array([i for i in self.left.tolist() if is_out(i)], np.int64))

    def drop_rows(self, rule: str, rows: Indices) -> None:
        """Drop these rows; ``rows`` is ascending and a part of what is left."""
        self._effects.append(effect_on(rule, "dropped", rows, self._example, self.labels))
        self.left = np.setdiff1d(self.left, rows, assume_unique=True)
        if len(self.left) == 0:
            worst = max((e for e in self._effects if e.effect == "dropped"), key=lambda e: e.rows)
            raise DataError(
                f"no row is left after cleaning: clean dropped all {len(self.texts)}, most of them by the rule "
                f"{worst.rule} ({worst.rows}); relax it, or check ingest.text_column"
            )

    def keep_together(self, rule: str, rows: Indices, *, groups: Indices) -> None:
        """Record rows that are alike and stay, and the group of every row that is left."""
        self._effects.append(effect_on(rule, "kept", rows, self._example, self.labels))
        self._groups[self.left] = groups

    def result(self) -> Cleaned:
        return Cleaned(
            texts=[self.texts[i] for i in self.left],
            labels=[self._label(i) for i in self.left],
            rows=self._source_rows[self.left],
            groups=self._groups[self.left],
            effects=tuple(self._effects),
        )

    def _example(self, row: int) -> Example:
        return Example(self.texts[row], None, self._label(row))

    def _label(self, row: int) -> str:
        return self.labels[row] or ""


def _outvoted(sieve: _Sieve, *, keep_majority: bool) -> Indices:
    """Return the rows that go because equal texts have other labels."""
    groups: dict[str, list[int]] = {}
    for i in sieve.left.tolist():
        groups.setdefault(sieve.texts[i].casefold(), []).append(i)
    out: list[int] = []
    for rows in groups.values():
        votes = Counter(sieve.labels[i] for i in rows).most_common()
        if len(votes) == 1:
            continue
        strict = votes[0][1] > votes[1][1]
        winner = votes[0][0] if keep_majority and strict else None
        out += [i for i in rows if winner is None or sieve.labels[i] != winner]
    return np.array(sorted(out), np.int64)


def _first_alike(sieve: _Sieve, rules: RowRules, *, threshold: float) -> Indices:
    """Return for each row that is left the position of the first one that it repeats, or its own."""
    texts = [sieve.texts[i] for i in sieve.left]
    return representatives(texts, threshold=threshold, num_chars=rules.near_duplicate_chars)


def _drop_near_duplicates(sieve: _Sieve, rules: RowRules) -> None:
    """Drop the rows that nearly repeat an earlier one of their label, and spare those that are no mere copies."""
    first = _first_alike(sieve, rules, threshold=rules.near_duplicate_threshold)
    label = sieve.label_numbers[sieve.left]
    differs = np.zeros(len(first), np.bool_)
    np.logical_or.at(differs, first, label != label[first])
    disagreeing: Mask = differs[first]
    copies: Mask = (first != np.arange(len(first))) & ~disagreeing
    usual = np.zeros(len(first), np.bool_)
    if rules.labelled:
        largest = rules.near_duplicate_max_share * np.bincount(label)
        repeated = np.bincount(first, minlength=len(first))[first] > 1
        usual = (np.bincount(label[copies], minlength=len(largest)) > largest)[label] & repeated & ~disagreeing
    groups = sieve.left[first]
    dropped = sieve.left[copies & ~usual]
    sieve.keep_together("near_duplicates", sieve.left[disagreeing], groups=groups)
    sieve.keep_together("near_duplicate_max_share", sieve.left[usual], groups=groups)
    sieve.drop_rows("near_duplicates", dropped)
