"""Cleaned rows as ``train``, ``validation`` and ``test``, with their labels, and what was done to them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from secateur.config.clean import CleanSection
from secateur.data.cleaning import Cleaned, RowRules, clean_test_rows
from secateur.data.cleaning_remarks import blame
from secateur.data.data_report import Example, RuleEffect, effect_on
from secateur.data.document_splitting import split_documents
from secateur.data.labels import MIN_ROWS_PER_LABEL, Targets, require_classes
from secateur.data.splits import Split, cap_rows, raised_share, split_rows
from secateur.data.tokens import as_arrow
from secateur.errors import DataError
from secateur.kinds.base import Kind

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Some of the cleaned rows; ``targets`` holds what is to be learned of all of them."""

    cleaned: Cleaned
    targets: NDArray[Any]
    rows: Indices

    def write(self, path: Path) -> None:
        """Write columns ``text``, ``label`` (the target) and ``row`` (of the source) as Parquet."""
        table = pa.table(
            {
                "text": pa.array([self.cleaned.texts[i] for i in self.rows], pa.string()),
                "label": as_arrow(self.targets[self.rows]),
                "row": pa.array(self.cleaned.rows[self.rows], pa.int64()),
            }
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, compression="zstd")


@dataclass(frozen=True)
class Parts:
    """The parts by name.

    Attributes:
        of: train, validation and test.
        capped: what ``max_train_rows`` and ``max_validation_rows`` dropped.
        num_spread: rows of groups that fitted into no part.
    """

    of: Mapping[str, Part]
    capped: tuple[RuleEffect, ...]
    num_spread: int


def cleaned_test_rows(test: pa.Table | None, clean: CleanSection, rules: RowRules) -> Cleaned | None:
    """Clean the rows that were given to test, where there are any."""
    return (
        None
        if test is None
        else clean_test_rows(split_documents(test, at=clean.split), rules, num_proc=num_processes())
    )


def parted(cleaned: Cleaned, targets: Targets, *, given: Part | None, clean: CleanSection, seed: int) -> Parts:
    """Split cleaned rows, and cap what is learned from.

    Args:
        cleaned: the rows.
        targets: what is to be learned of each.
        given: rows that were given to test; None takes a share of the others.
        clean: the shares and caps.
        seed: of the choice.

    Raises:
        DataError: a part would stay empty.
    """
    strata, values = targets.strata, targets.values
    validation = raised_share(clean.validation_fraction, min_rows=clean.min_validation_rows, num_rows=len(values))
    held_out = raised_share(clean.test_fraction, min_rows=clean.min_test_rows, num_rows=len(values))
    whole = split_rows(
        strata,
        validation_fraction=validation,
        test_fraction=0.0 if given else held_out,
        seed=seed,
        groups=cleaned.groups,
    )
    split = Split(
        train=cap_rows(whole.train, strata, max_rows=clean.max_train_rows, seed=seed),
        validation=cap_rows(whole.validation, strata, max_rows=clean.max_validation_rows, seed=seed),
        test=whole.test,
        spread=whole.spread,
    )
    parts = {
        "train": Part(cleaned, values, split.train),
        "validation": Part(cleaned, values, split.validation),
        "test": given or Part(cleaned, values, split.test),
    }
    return Parts(parts, tuple(_caps(cleaned, whole=whole, split=split)), len(split.spread))


def given_part(test: Cleaned, learned: Targets, *, labelled: bool, kind: Kind) -> Part:
    """Return the rows that were given to test, with targets as they were learned.

    Raises:
        DataError: one of their labels has no row left to learn from.
    """
    index_of = {name: index for index, name in enumerate(learned.names)}
    unknown = sorted({label for label in test.labels if learned.names and label not in index_of})
    if unknown:
        raise DataError(
            f"ingest.test_source has the label {unknown[0]!r}, of which cleaning leaves no row to learn from; relax "
            "the rules under clean, or leave its rows out"
        )
    if not labelled:
        values = np.zeros(len(test.texts), np.int64)
    elif learned.names:
        values = np.array([index_of[label] for label in test.labels], np.int64)
    else:
        values = kind.targets(test.labels).values
    return Part(test, values, np.arange(len(test.texts)))


def dropped_of_test(test: Cleaned | None) -> list[RuleEffect]:
    """Return what was dropped of the rows that were given to test."""
    gone = [effect for effect in test.effects if effect.effect == "dropped" and effect.rows] if test else []
    return [replace(effect, rule=f"{effect.rule} (test_source)") for effect in gone]


def targets_of(cleaned: Cleaned, raw: pa.Table, *, labelled: bool, kind: Kind, min_rows: int) -> Targets:
    """Return what is learned of each row; no names and zeros where there are no labels.

    Raises:
        DataError: too few rows or labels are left.
    """
    if not labelled:
        if len(cleaned.texts) < MIN_ROWS_PER_LABEL:
            worst = max((e for e in cleaned.effects if e.effect == "dropped"), key=lambda effect: effect.rows)
            raise DataError(
                f"rows left after cleaning: {len(cleaned.texts)}; train, validation and test need one each (most were "
                f"dropped by the rule {worst.rule}: {worst.rows}); add text, or relax the rules under clean"
            )
        nothing = np.zeros(len(cleaned.texts), np.int64)
        return Targets([], nothing, strata=nothing)
    lost = blame(raw, cleaned, min_rows=min_rows)
    require_classes(
        cleaned.labels,
        when="after cleaning",
        remedy=f"{lost}add rows, remove the label, or relax the rules under clean",
        min_labels=kind.min_labels,
        min_rows=min_rows,
    )
    if kind.min_labels and (gone := sorted(set(raw["label"].drop_null().to_pylist()) - set(cleaned.labels))):
        raise DataError(
            f"cleaning leaves no row of the label {', '.join(map(repr, gone[:5]))}: {lost}relax the rule, or remove "
            "the label from the source"
        )
    return kind.targets(cleaned.labels)


def num_processes() -> int:
    """How many processes may clean texts; no parameter, because the result does not depend on it."""
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _caps(cleaned: Cleaned, *, whole: Split, split: Split) -> Sequence[RuleEffect]:
    def example(i: int) -> Example:
        return Example(cleaned.texts[i], None, cleaned.labels[i])

    return [
        effect_on("max_train_rows", "dropped", np.setdiff1d(whole.train, split.train), example),
        effect_on("max_validation_rows", "dropped", np.setdiff1d(whole.validation, split.validation), example),
    ]
