"""``clean``: rows worth learning from, split without leakage, and a report of what was done to them."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from secateur.config.clean import CleanSection
from secateur.config.ingest import IngestSection
from secateur.config.run import Task
from secateur.data.acquisition import read_copied
from secateur.data.cleaning import Cleaned, RowRules, clean_rows
from secateur.data.data_report import Example, RuleEffect, effect_on, to_json_value
from secateur.data.document_splitting import split_documents
from secateur.data.labels import MIN_ROWS_PER_LABEL, label_names, require_classes
from secateur.data.provenance import read_provenance
from secateur.data.splits import Split, cap_rows, raised_share, split_rows
from secateur.data.tables import Columns
from secateur.data.text_rules import TextRules
from secateur.errors import DataError
from secateur.files import write_json
from tasks.job import Job

Indices = NDArray[np.int64]


def run(job: Job, *, ingest: IngestSection, clean: CleanSection, seed: int, task: Task = "classification") -> None:
    """Clean the rows and split them.

    The outputs are ``train``, ``validation`` and ``test`` (Parquet: text, label, row), ``labels``, ``text_rules`` and
    ``report``. The text rules go with every model, so that it meets new texts as it met those it learned from.

    Raises:
        DataError: too few rows or labels are left.
    """
    columns = Columns(text=ingest.text_column, label=ingest.label_column, confidence=ingest.confidence_column)
    raw = split_documents(read_copied(job.inputs["raw"], columns), at=clean.split)
    cleaned = clean_rows(raw, _rules(clean, columns), num_proc=_num_proc())
    names, labels = _labels(cleaned, labelled=columns.label is not None, task=task)
    whole = split_rows(
        labels,
        validation_fraction=raised_share(
            clean.validation_fraction, min_rows=clean.min_validation_rows, num_rows=len(labels)
        ),
        test_fraction=raised_share(clean.test_fraction, min_rows=clean.min_test_rows, num_rows=len(labels)),
        seed=seed,
        groups=cleaned.groups,
    )
    split = Split(
        train=cap_rows(whole.train, labels, max_rows=clean.max_train_rows, seed=seed),
        validation=cap_rows(whole.validation, labels, max_rows=clean.max_validation_rows, seed=seed),
        test=whole.test,
    )
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    for part, rows in parts.items():
        _write_part(job.outputs[part], cleaned, labels, rows)
    write_json(job.outputs["labels"], names)
    write_json(job.outputs["text_rules"], asdict(_text_rules(clean)))
    report = to_json_value(
        source=read_provenance(job.inputs["raw"]),
        num_read=raw.num_rows,
        num_kept=len(cleaned.texts),
        labels=names,
        parts={part: labels[rows] for part, rows in parts.items()},
        effects=[*cleaned.effects, *_caps(cleaned, whole=whole, split=split)],
        lengths=np.array([len(text) for text in cleaned.texts], np.int64),
    )
    write_json(job.outputs["report"], report)


def _labels(cleaned: Cleaned, *, labelled: bool, task: Task) -> tuple[list[str], Indices]:
    """Return the names of the labels, and the index of each row's; no names and zeros where there are none.

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
        return [], np.zeros(len(cleaned.texts), np.int64)
    require_classes(
        cleaned.labels,
        when="after cleaning",
        remedy="add rows, remove the label, or relax the rules under clean",
        task=task,
    )
    names = label_names(cleaned.labels)
    index_of = {name: index for index, name in enumerate(names)}
    return names, np.array([index_of[label] for label in cleaned.labels], np.int64)


def _text_rules(clean: CleanSection) -> TextRules:
    return TextRules(
        repair_encoding=clean.repair_encoding,
        normalization=clean.normalization,
        mask_handles=clean.mask_handles,
        mask_links=clean.mask_links,
        max_chars=clean.max_chars,
    )


def _rules(clean: CleanSection, columns: Columns) -> RowRules:
    return RowRules(
        text=_text_rules(clean),
        min_chars=clean.min_chars,
        min_confidence=clean.min_confidence if columns.confidence is not None else None,
        label_conflicts=clean.label_conflicts,
        near_duplicate_threshold=clean.near_duplicate_threshold,
        near_duplicate_chars=clean.near_duplicate_chars,
        near_duplicate_max_share=clean.near_duplicate_max_share,
        labelled=columns.label is not None,
    )


def _num_proc() -> int:
    """How many processes may clean texts; no parameter, because the result does not depend on it."""
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _write_part(path: Path, cleaned: Cleaned, labels: Indices, rows: Indices) -> None:
    table = pa.table(
        {
            "text": pa.array([cleaned.texts[i] for i in rows], pa.string()),
            "label": pa.array(labels[rows], pa.int64()),
            "row": pa.array(cleaned.rows[rows], pa.int64()),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")


def _caps(cleaned: Cleaned, *, whole: Split, split: Split) -> Sequence[RuleEffect]:
    def example(i: int) -> Example:
        return Example(cleaned.texts[i], None, cleaned.labels[i])

    return [
        effect_on("max_train_rows", "dropped", np.setdiff1d(whole.train, split.train), example),
        effect_on("max_validation_rows", "dropped", np.setdiff1d(whole.validation, split.validation), example),
    ]
