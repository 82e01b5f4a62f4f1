"""``clean``: rows worth learning from, split without leakage, and a report of what was done to them."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from secateur.config.clean import CleanSection
from secateur.config.ingest import IngestSection
from secateur.config.run import KindName
from secateur.data.acquisition import Copied, read_copied
from secateur.data.cleaning import Cleaned, RowRules, clean_rows, clean_test_rows
from secateur.data.cleaning_remarks import blame, remarks_on
from secateur.data.data_report import Example, RuleEffect, effect_on, to_json_value
from secateur.data.document_splitting import split_documents
from secateur.data.labels import MIN_ROWS_PER_LABEL, Targets, require_classes
from secateur.data.provenance import read_provenance
from secateur.data.reading import reading_of
from secateur.data.rules import row_rules_of, text_rules_of
from secateur.data.splits import Split, cap_rows, raised_share, split_rows
from secateur.data.tokens import as_arrow
from secateur.errors import DataError
from secateur.files import write_json
from secateur.kinds.base import Kind
from secateur.kinds.registry import DEFAULT, kind_named
from secateur.workflow.job import Job

Indices = NDArray[np.int64]


def run(job: Job, *, ingest: IngestSection, clean: CleanSection, seed: int, kind: KindName = DEFAULT) -> None:
    """Clean the rows and split them.

    The outputs are ``train``, ``validation`` and ``test`` (Parquet: text, label, row), ``labels``, ``text_rules`` and
    ``report``. The text rules go with every model, so that it meets new texts as it met those it learned from.

    Raises:
        DataError: too few rows or labels are left.
    """
    reading = reading_of(ingest)
    copied = read_copied(job.inputs["raw"], reading)
    raw, rules = split_documents(copied.rows, at=clean.split), row_rules_of(clean, reading.columns)
    test = _test_rows(copied, clean, rules)
    cleaned = clean_rows(raw, rules, num_proc=_num_proc(), apart_from=test.texts if test else ())
    targets = _targets(cleaned, raw, labelled=rules.labelled, kind=kind_named(kind), min_rows=3 - bool(test))
    whole = split_rows(
        targets.strata,
        validation_fraction=raised_share(
            clean.validation_fraction, min_rows=clean.min_validation_rows, num_rows=len(targets.values)
        ),
        test_fraction=0.0
        if test
        else raised_share(clean.test_fraction, min_rows=clean.min_test_rows, num_rows=len(targets.values)),
        seed=seed,
        groups=cleaned.groups,
    )
    split = Split(
        train=cap_rows(whole.train, targets.strata, max_rows=clean.max_train_rows, seed=seed),
        validation=cap_rows(whole.validation, targets.strata, max_rows=clean.max_validation_rows, seed=seed),
        test=whole.test,
        spread=whole.spread,
    )
    parts = {
        "train": _Part(cleaned, targets.values, split.train),
        "validation": _Part(cleaned, targets.values, split.validation),
        "test": _given(test, targets, labelled=rules.labelled, kind=kind_named(kind))
        if test
        else _Part(cleaned, targets.values, split.test),
    }
    for name, part in parts.items():
        part.write(job.outputs[name])
    write_json(job.outputs["labels"], targets.names)
    write_json(job.outputs["text_rules"], asdict(text_rules_of(clean)))
    tested = _of_test(test)
    effects = [*cleaned.effects, *tested, *_caps(cleaned, whole=whole, split=split)]
    num_test = copied.test.num_rows if copied.test else 0
    report = to_json_value(
        source=read_provenance(job.inputs["raw"]),
        num_read=raw.num_rows + num_test,
        num_kept=len(cleaned.texts) + (len(test.texts) if test else 0),
        labels=targets.names,
        parts={name: part.targets[part.rows] for name, part in parts.items()},
        effects=effects,
        lengths=np.array([len(text) for text in (*cleaned.texts, *(test.texts if test else ()))], np.int64),
        remarks=remarks_on(raw, cleaned, spread=len(split.spread), labelled=rules.labelled, also=tested),
    )
    write_json(job.outputs["report"], report)


@dataclass(frozen=True)
class _Part:
    """Some of the cleaned rows; ``targets`` holds what is to be learned of all of them."""

    cleaned: Cleaned
    targets: NDArray[Any]
    rows: Indices

    def write(self, path: Path) -> None:
        table = pa.table(
            {
                "text": pa.array([self.cleaned.texts[i] for i in self.rows], pa.string()),
                "label": as_arrow(self.targets[self.rows]),
                "row": pa.array(self.cleaned.rows[self.rows], pa.int64()),
            }
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, compression="zstd")


def _test_rows(copied: Copied, clean: CleanSection, rules: RowRules) -> Cleaned | None:
    if copied.test is None:
        return None
    return clean_test_rows(split_documents(copied.test, at=clean.split), rules, num_proc=_num_proc())


def _given(test: Cleaned, learned: Targets, *, labelled: bool, kind: Kind) -> _Part:
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
    return _Part(test, values, np.arange(len(test.texts)))


def _of_test(test: Cleaned | None) -> list[RuleEffect]:
    """Return what was dropped of the rows that were given to test."""
    gone = [effect for effect in test.effects if effect.effect == "dropped" and effect.rows] if test else []
    return [replace(effect, rule=f"{effect.rule} (test_source)") for effect in gone]


def _targets(cleaned: Cleaned, raw: pa.Table, *, labelled: bool, kind: Kind, min_rows: int) -> Targets:
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


def _num_proc() -> int:
    """How many processes may clean texts; no parameter, because the result does not depend on it."""
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _caps(cleaned: Cleaned, *, whole: Split, split: Split) -> Sequence[RuleEffect]:
    def example(i: int) -> Example:
        return Example(cleaned.texts[i], None, cleaned.labels[i])

    return [
        effect_on("max_train_rows", "dropped", np.setdiff1d(whole.train, split.train), example),
        effect_on("max_validation_rows", "dropped", np.setdiff1d(whole.validation, split.validation), example),
    ]
