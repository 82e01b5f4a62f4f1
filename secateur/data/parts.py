"""Cleaned rows as ``train``, ``validation`` and ``test``, with their labels, and what was done to them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from secateur.config.clean import CleanSection
from secateur.data.cleaning import Cleaned, RowRules, clean_given_rows
from secateur.data.cleaning_remarks import blame
from secateur.data.data_report import Example, RuleEffect, effect_on
from secateur.data.division import divided
from secateur.data.document_splitting import split_documents
from secateur.data.indicators import indicated
from secateur.data.splits import cap_rows
from secateur.data.stored_texts import picked
from secateur.data.tokens import as_arrow
from secateur.errors import DataError
from secateur.kinds.base import Kind
from secateur.readers.label_sets import counted
from secateur.readers.labels import MIN_ROWS_PER_LABEL, Targets, counted_in, require_classes
from secateur.sources.source_files import PARTS

Indices = NDArray[np.int64]

_ROW_GROUP = 1024 * 1024
"""Rows that Parquet holds together by default."""


@dataclass(frozen=True)
class Part:
    """Some of the cleaned rows; ``targets`` holds what is to be learned of all of them."""

    cleaned: Cleaned
    targets: NDArray[Any]
    rows: Indices

    def write(self, path: Path) -> None:
        """Write columns ``text``, ``label`` (the target) and ``row`` (of the source) as Parquet."""
        path.parent.mkdir(parents=True, exist_ok=True)
        first, *more = range(0, max(1, len(self.rows)), _ROW_GROUP)
        table = self._table(first)
        with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
            writer.write_table(table, _ROW_GROUP)
            for start in more:  # the bytes of writing all at once, without holding all
                writer.write_table(self._table(start), _ROW_GROUP)

    def _table(self, start: int) -> pa.Table:
        rows = self.rows[start : start + _ROW_GROUP]
        return pa.table(
            {
                "text": pa.array(iter(picked(self.cleaned.texts, rows)), pa.string(), size=len(rows)),
                "label": as_arrow(self.targets[rows]),
                "row": pa.array(self.cleaned.rows[rows], pa.int64()),
            }
        )


@dataclass(frozen=True)
class Given:
    """Rows of a part, and what a cap keeps the shares of: ``strata`` is one number for each of the cleaned rows."""

    part: Part
    strata: Indices

    def capped(self, max_rows: int | None, *, seed: int) -> Part:
        """Return the part with so many rows at most."""
        return replace(self.part, rows=cap_rows(self.part.rows, self.strata, max_rows=max_rows, seed=seed))


@dataclass(frozen=True)
class Parts:
    """The parts by name.

    Attributes:
        of: train, validation and test.
        capped: what ``max_train_rows`` and ``max_validation_rows`` dropped.
        num_spread: rows of groups that fitted into no part.
        starts: the first time of each part that judges, where rows were divided by time.
        divided: rows of each part before the caps.
        num_left_out: rows that stand in no part, because their group stands in a later one.
    """

    of: Mapping[str, Part]
    capped: tuple[RuleEffect, ...]
    num_spread: int
    starts: Mapping[str, str]
    divided: Mapping[str, int]
    num_left_out: int


def cleaned_given(given: Mapping[str, pa.Table], clean: CleanSection, rules: RowRules) -> dict[str, Cleaned]:
    """Clean the rows that were given to judge; those that test stay, and what validates is kept apart from them."""
    cleaned: dict[str, Cleaned] = {}
    for part in reversed(PARTS):
        if part in given:
            rows = split_documents(given[part], at=clean.split)
            apart_from = tuple(cleaned.values())
            cleaned[part] = clean_given_rows(rows, rules, num_proc=num_processes(), apart_from=apart_from)
    return cleaned


def parted(cleaned: Cleaned, targets: Targets, *, given: Mapping[str, Given], clean: CleanSection, seed: int) -> Parts:
    """Split cleaned rows, and cap what is learned from.

    Args:
        cleaned: the rows.
        targets: what is to be learned of each.
        given: rows that were given to judge, by their part; other parts get a share of the rows.
        clean: the shares and caps.
        seed: of the choice.

    Raises:
        DataError: a part would stay empty.
    """
    names = targets.names if targets.strata is targets.values else []
    whole = divided(cleaned, targets.strata, given=frozenset(given), clean=clean, seed=seed, names=names)
    own = {
        part: Given(Part(cleaned, targets.values, rows), targets.strata)
        for part, rows in (("train", whole.train), ("validation", whole.validation), ("test", whole.test))
    }
    every = {**own, **given}
    limits = {"train": clean.max_train_rows, "validation": clean.max_validation_rows}
    parts = {name: every[name].capped(limits.get(name), seed=seed) for name in own}
    capped = [_cap(name, every[name].part, parts[name]) for name in limits]
    return Parts(
        parts,
        tuple(capped),
        num_spread=len(whole.spread),
        starts=whole.starts,
        divided={name: len(given.part.rows) for name, given in every.items()},
        num_left_out=len(whole.left_out),
    )


def given_part(cleaned: Cleaned, learned: Targets, *, labelled: bool, kind: Kind, given_by: str) -> Given:
    """Return rows that were given to judge, with targets as they were learned.

    Raises:
        DataError: one of their labels has no row left to learn from.
    """
    index_of = {name: index for index, name in enumerate(learned.names)}
    unknown = sorted(label for label in counted(cleaned.labels) if learned.names and label not in index_of)
    if unknown:
        raise DataError(
            f"{given_by} has the label {unknown[0]!r}, of which cleaning leaves no row to learn from; relax the rules "
            "under clean, or leave its rows out"
        )
    strata = np.zeros(len(cleaned.texts), np.int64)
    values: NDArray[Any] = strata
    if labelled and kind.label_sets:
        targets = indicated(cleaned.labels, names=learned.names)
        values, strata = targets.values, targets.strata
    elif labelled and learned.names:
        values = strata = np.array([index_of[label] for label in cleaned.labels], np.int64)
    elif labelled:
        targets = kind.targets(cleaned.labels)
        values, strata = targets.values, targets.strata
    return Given(Part(cleaned, values, np.arange(len(cleaned.texts))), strata)


def dropped_of(given: Mapping[str, Cleaned]) -> list[RuleEffect]:
    """Return what was dropped of the rows that were given to judge."""
    return [
        replace(effect, rule=f"{effect.rule} ({part})")
        for part, cleaned in given.items()
        for effect in cleaned.effects
        if effect.effect == "dropped" and effect.rows
    ]


def targets_of(cleaned: Cleaned, raw: pa.Table, *, labelled: bool, kind: Kind, num_parts: int, rare: str) -> Targets:
    """Return what is learned of each row; no names and zeros where there are no labels.

    Args:
        cleaned: the rows.
        raw: what they were before cleaning.
        labelled: whether they have labels.
        kind: of task.
        num_parts: parts of the split that come from these rows; each label needs as many.
        rare: what happens to labels with too few rows (``ingest.rare_labels``).

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
    lost = blame(raw, cleaned, min_rows=num_parts)
    require_classes(
        cleaned.labels,
        when="after cleaning",
        remedy=f"{lost}add rows, remove the label, or relax the rules under clean",
        min_labels=kind.min_labels,
        min_rows=num_parts,
    )
    gone = sorted(set(counted_in(raw["label"])) - set(counted(cleaned.labels)))
    if gone and kind.min_labels and rare == "refuse":
        raise DataError(
            f"cleaning leaves no row of the label {', '.join(map(repr, gone[:5]))}: {lost}relax the rule, or remove "
            "the label from the source"
        )
    return kind.targets(cleaned.labels)


def num_processes() -> int:
    """How many processes may clean texts; no parameter, because the result does not depend on it."""
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _cap(name: str, before: Part, after: Part) -> RuleEffect:
    def example(i: int) -> Example:
        return Example(before.cleaned.texts[i], None, before.cleaned.labels[i])

    return effect_on(f"max_{name}_rows", "dropped", np.setdiff1d(before.rows, after.rows), example)
