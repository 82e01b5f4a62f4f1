"""``reports/drift.json``: the rows of the source as they are now against those that the champion learned from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from secateur.config.schema import RunConfig
from secateur.data.acquisition import read_copied, read_source
from secateur.data.document_splitting import split_documents
from secateur.data.drift import added_rows, compare, embedding_shift, findings
from secateur.data.profile import LabelledTexts, Profile
from secateur.data.quality import DataCondition, check_quality
from secateur.errors import CheckFailed, DataError, ProjectError
from secateur.files import remove, replacing, write_json
from secateur.kinds.registry import kind_named
from secateur.readers.reading import Reading, reading_of
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.project import Project

DRIFT = "reports/drift.json"


@dataclass(frozen=True)
class ChampionRows:
    """The champion's data.

    Attributes:
        version: of the champion.
        data_md5: of its ``data/raw``.
        rows: as they were read.
    """

    version: str
    data_md5: str
    rows: LabelledTexts


def source_rows(project: Project, config: RunConfig) -> LabelledTexts:
    """Read the source as it is now: a local or package file where it lies, a hub dataset where ingest put it.

    Raises:
        DataError: it cannot be read, or a column is missing.
    """
    ingest = config.ingest
    table = read_source(ingest.source, _reading(config), root=project.root)
    return _read_raw(project.root / "data" / "raw", config) if table is None else _texts(table, config)


def reference_rows(
    project: Project, store: DvcStore, config: RunConfig, *, version: str, data_md5: str
) -> tuple[ChampionRows | None, str | None]:
    """Return the champion's rows, from DVC's cache or remote; or None and the reason why they cannot be had.

    They are kept in ``.secateur/reference`` until there is another champion.
    """
    home = project.state / "reference"
    folder = home / data_md5
    try:
        if not folder.is_dir():
            remove(home)
            with replacing(folder) as fresh:
                store.fetch(data_md5, fresh, what=f"data/raw of version {version}")
        return ChampionRows(version, data_md5, _read_raw(folder, config)), None
    except (ProjectError, CheckFailed, DataError) as error:
        return None, f"the rows of version {version} cannot be had: {error}"


def judge_rows(rows: LabelledTexts, reference: ChampionRows | None, config: RunConfig) -> tuple[DataCondition, ...]:
    """Judge the source against ``retrain.quality``."""
    before = None if reference is None else Profile.of(reference.rows)
    return check_quality(Profile.of(rows), before, config.retrain.quality)


def write_report(
    project: Project,
    *,
    rows: LabelledTexts,
    reference: ChampionRows | None,
    missing: str | None,
    conditions: Sequence[DataCondition],
    checkpoint: Path | None,
    num_embedded: int,
    seed: int,
) -> dict[str, Any]:
    """Compare and write ``reports/drift.json``.

    Args:
        project: the workspace.
        rows: the source as it is now.
        reference: the champion's rows; None when there is no champion or they cannot be had.
        missing: why there is no reference.
        conditions: what ``judge_rows`` found.
        checkpoint: of the champion, verified; None leaves the embeddings out.
        num_embedded: rows of each side that are embedded.
        seed: of the sample.

    Returns:
        What was written.
    """
    values: dict[str, Any] = {
        "reference": None
        if reference is None
        else {"version": reference.version, "data_md5": reference.data_md5, "rows": len(reference.rows.texts)},
        "missing": missing,
        "quality": {
            "passed": all(condition.passed for condition in conditions),
            "conditions": [condition.as_json() for condition in conditions],
        },
        "current": None,
        "added": None,
        "findings": [],
    }
    if reference is not None:
        before, now = reference.rows.usable(), rows.usable()
        embed = None if checkpoint is None else _Encoder(checkpoint, num_embedded, seed)
        values["current"] = _parts(before, now, embed)
        fresh = added_rows(before, now)
        # Few new rows among many old ones hardly move the whole; alone they show what is coming.
        values["added"] = _parts(before, fresh, embed) if fresh.texts and len(fresh.texts) < len(now.texts) else None
        values["findings"] = [
            *(f"all rows: {said}" for said in findings(values["current"] or {})),
            *(f"new rows: {said}" for said in findings(values["added"] or {})),
        ]
    write_json(project.root / DRIFT, values)
    return values


@dataclass(frozen=True)
class _Encoder:
    checkpoint: Path
    num_rows: int
    seed: int

    def __call__(self, data: LabelledTexts) -> Any:
        from secateur.inference.embeddings import mean_pooled

        draw = np.random.default_rng(self.seed)
        # Equal texts on both sides would hide what differs.
        texts = sorted({str(text) for text in data.texts})
        chosen = draw.permutation(len(texts))[: self.num_rows]
        return mean_pooled(self.checkpoint, [texts[index] for index in sorted(chosen)])


def _parts(before: LabelledTexts, now: LabelledTexts, embed: _Encoder | None) -> dict[str, Any] | None:
    if not before.texts or not now.texts:
        return None
    parts = compare(before, now)
    parts["embeddings"] = None
    if embed is not None and embed.num_rows:
        parts["embeddings"] = embedding_shift(embed(before), embed(now), seed=embed.seed)
    return parts


def _read_raw(folder: Path, config: RunConfig) -> LabelledTexts:
    return _texts(read_copied(folder, _reading(config)).rows, config)


def _reading(config: RunConfig) -> Reading:
    return reading_of(config.ingest, kind_named(config.run.task))


def _texts(table: pa.Table, config: RunConfig) -> LabelledTexts:
    """Return the texts that ``clean`` would look at: a document may hold many."""
    rows = split_documents(table, at=config.clean.split)
    labelled = config.ingest.label_column is not None
    numbered = labelled and kind_named(config.run.task).tells_numbers
    return LabelledTexts(rows["text"].to_pylist(), rows["label"].to_pylist(), labelled, numbered)
