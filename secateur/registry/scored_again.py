"""A registered version scored once more, on the test rows of this workspace."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secateur.config.schema import RunConfig
from secateur.errors import CheckFailed
from secateur.kinds.registry import kind_named
from secateur.registry.model_source import kind_of
from secateur.registry.tags import DATA_REPORT
from secateur.workflow.project import Project

if TYPE_CHECKING:
    from secateur.registry.mlflow_store import ModelRegistry


@dataclass(frozen=True)
class ScoredAgain:
    """An unchanged champion, looked at again: what is wrong with it, or its score in words."""

    problem: str | None
    summary: str = ""


def score_again(project: Project, registry: "ModelRegistry", config: RunConfig, *, version: str) -> ScoredAgain:
    """Check every file of a version and score its deployed form on the test rows of this workspace.

    The score is compared with the registered one where the version was evaluated on these rows.
    """
    from secateur.registry.model_source import resolve

    reference = f"models:/{config.register_.model_name}/{version}"
    try:
        resolved = resolve(project, reference, registry=registry)
    except CheckFailed as error:
        return ScoredAgain(str(error))
    clean = project.root / "data" / "clean"
    test, labels = clean / "test.parquet", clean / "labels.json"
    kind = kind_named(kind_of(resolved.checkpoint))
    found = kind.answer_again(resolved.folder, test=test, labels=labels)
    said = found.said
    data = project.root / "reports" / "data.json"
    same_rows = hashlib.md5(data.read_bytes(), usedforsecurity=False).hexdigest() == resolved.tags.get(DATA_REPORT)
    registered = kind.registered_score(registry.version(reference).metrics)
    if not same_rows or registered is None:
        return ScoredAgain(None, said)
    if abs(found.value - registered) > config.retrain.metric_tolerance:
        return ScoredAgain(
            f"its {said} is not the {registered:.4f} that was registered "
            f"(retrain.metric_tolerance={config.retrain.metric_tolerance:g})"
        )
    return ScoredAgain(None, f"{said}, registered {registered:.4f}")
