"""A version in memory: checked, loaded, warmed up."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from secateur.kinds.base import Kind
from secateur.models.checkpoint import kind_of_folder
from secateur.models.folders import card_of
from secateur.registry.mlflow_store import ModelRegistry
from secateur.registry.model_source import Resolved, artifact_digests, resolve
from secateur.workflow.project import Project


@dataclass(frozen=True)
class Served:
    """What answers.

    Attributes:
        source: the version and its files.
        kind: of task that it is for.
        model: loaded, see ``Kind.open_model``.
        files: file -> sha256 of what was loaded.
        loaded: when, in UTC.
        num_texts: of a row that it reads, 1 or 2; None where nobody knows.
    """

    source: Resolved
    kind: Kind
    model: Any
    files: dict[str, str]
    loaded: str
    num_texts: int | None = None

    @property
    def name(self) -> str:
        """What clients are told: of a folder its own name, not where it lies."""
        return self.source.checkpoint.resolve().name if self.source.version is None else self.source.name

    @property
    def labels(self) -> tuple[str, ...]:
        """What a classifier says, or what a generator can be asked for."""
        return tuple(self.model.labels)

    @property
    def max_tokens(self) -> int:
        """What it reads, at most."""
        return int(self.model.max_length)


def load(project: Project | None, reference: str, *, num_threads: int, registry: ModelRegistry | None = None) -> Served:
    """Check every file of a model, load it, and let it answer once.

    Raises:
        CheckFailed: a file differs from its digest, or the answers are no numbers.
        ModelError: there is no such model, or it does not load.
    """
    source = resolve(project, reference, registry=registry)
    try:
        kind = kind_of_folder(source.checkpoint, card_of(source.checkpoint, verified=True))
        model = kind.open_model(source.folder, num_threads=num_threads, verify=False)
        kind.warm_up(model, label=source.label)
        files = artifact_digests(source.checkpoint, source.deployed)
        num_texts = card_of(source.folder, verified=True).num_texts
    finally:
        source.close()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Served(source, kind, model, files=files, loaded=now, num_texts=num_texts)
