"""What a registered version says of itself: tags to rebuild it from, its scores, and what the other rounds came to."""

import csv
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secateur.config.base import Runtime
from secateur.errors import ConfigError
from secateur.files import to_json
from secateur.kinds.registry import DEFAULT, kind_named
from secateur.models.card import Card
from secateur.registry.tags import (
    COMMIT,
    DATA,
    DATA_REPORT,
    DIRTY_FILES,
    FLOW_RUN,
    GATE,
    MAX_CHARS,
    REPRODUCIBLE,
    ROLLED_BACK,
    VersionTags,
    sha256_of,
)
from secateur.workflow.job import Job
from secateur.workflow.project import Project, commit_of, dirty_files
from secateur.workflow.results import read_json
from secateur.workflow.tried import checkpoints_of

_TOLD = ("deployed_change", "params", "macs", "deployed_bytes", "torch_ms", "onnx_ms", "onnx-int8_ms")
"""What a tag says of a model that was tried beside its scores, where it is known."""


def require_evaluated(job: Job, runtime: Runtime) -> None:
    """Refuse to publish a form whose quality nobody has measured.

    Raises:
        ConfigError: another form was evaluated.
    """
    evaluated = read_json(job.inputs["details"]).get("deployed", runtime) if "details" in job.inputs else runtime
    if runtime != evaluated:
        raise ConfigError(
            f"register.runtime={runtime} was not evaluated, evaluate.deployed={evaluated} was; set both to the same"
        )


def deployed_folder(checkpoint: Path, card: Card, *, runtime: Runtime, exports: Path) -> Path | None:
    """Return the folder that the runtime reads, exported when it is not there; None for torch."""
    if runtime == "torch":
        return None
    from secateur.inference.runners import exported_folder

    folder = exported_folder(checkpoint, runtime=runtime, workdir=exports)
    if Card.read(folder).key == card.key:
        return folder
    # Another checkpoint with the same weights was exported first: its card would say the wrong round.
    return exported_folder(checkpoint, runtime=runtime, workdir=exports / str(card.key)[:8])


def shared_tags(project: Project, job: Job) -> dict[str, str]:
    """Return the tags of all versions of one run: commit, data and parameters."""
    dirty = dirty_files(project.root)
    tags = {
        COMMIT: commit_of(project.root) or "none",
        REPRODUCIBLE: "false" if dirty else "true",
        FLOW_RUN: os.environ.get("SECATEUR_FLOW_RUN_ID", "none"),
        DATA_REPORT: job.digests["data"],
    }
    if dirty:
        tags[DIRTY_FILES] = ", ".join(dirty)
    for name in ("dvc.lock", "params.yaml", "constraints.txt"):
        path = project.root / name
        if path.exists():
            tags[sha256_of(name)] = hashlib.sha256(path.read_bytes()).hexdigest()
    lock = _data_digest(project.root / "dvc.lock")
    if lock:
        tags[DATA] = lock
    return tags


def _data_digest(lock: Path) -> str | None:
    """Return the md5 of ``data/raw`` as dvc.lock records it: MLflow's own digest sees 10 000 rows only."""
    from ruamel.yaml import YAML

    if not lock.exists():
        return None
    stages = YAML(typ="safe").load(lock.read_text(encoding="utf-8"))["stages"]
    for out in stages.get("ingest", {}).get("outs", []):
        if out["path"] == "data/raw":
            return str(out["md5"])
    return None


def tags_of(card: Card) -> VersionTags:
    """Return the tags that come from the card of a checkpoint."""
    return VersionTags.of_card(card).with_({GATE: "not judged"})


def rolled_back_tags(job: Job, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return one tag per round that was not accepted: its validation scores, its test scores, its size, and why."""
    tags = {}
    for name, checkpoint in checkpoints_of(job).items():
        card = Card.read(checkpoint)
        if card.accepted:
            continue
        told = {
            "reason": card.reason,
            "asked": card.asked,
            "achieved": card.came_to.achieved,
            "validation": card.came_to.metrics,
            "test": {key: rows[name][key] for key in (*_scores(card), *_TOLD) if key in rows[name]},
            "widths": card.came_to.widths,
        }
        shown = {key: value for key, value in told.items() if value}
        tags[f"{ROLLED_BACK}{name}"] = _fitting(shown)
    return tags


def _scores(card: Card) -> tuple[str, ...]:
    kind = kind_named(card.task or DEFAULT)
    return (*kind.scores, f"deployed_{kind.measure.name}", f"{kind.measure.name}_change")


def _fitting(told: Mapping[str, Any]) -> str:
    """Return JSON that a tag can hold; of a deep model the widths are left out."""
    text = to_json(told)
    return text if len(text) <= MAX_CHARS else to_json({k: v for k, v in told.items() if k != "widths"})


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Return what is a number of a row of the comparison."""
    return {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def history_of(path: Path) -> list[dict[str, float]]:
    """Return the learning curve of a model; empty where it has none."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
