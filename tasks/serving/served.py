"""A version in memory: checked, loaded, warmed up."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from secateur.errors import CheckFailed
from secateur.evaluation.prediction import Prediction, Predictor
from tasks.mlflow_store import ModelRegistry
from tasks.model_source import Resolved, artifact_digests, resolve
from tasks.project import Project

_WARM_UP = ("a", "a text of some words", "a longer text " * 40)


@dataclass(frozen=True)
class Served:
    """What answers.

    Attributes:
        source: the version and its files.
        predictor: it, loaded.
        files: file -> sha256 of what was loaded.
        loaded: when, in UTC.
    """

    source: Resolved
    predictor: Predictor
    files: dict[str, str]
    loaded: str

    def predict(self, texts: Sequence[str], *, batch_size: int) -> list[Prediction]:
        """Classify texts as ``secateur predict`` does."""
        return self.predictor.predict(texts, batch_size=batch_size)


def load(project: Project | None, reference: str, *, num_threads: int, registry: ModelRegistry | None = None) -> Served:
    """Check every file of a model, load it, and let it answer once.

    Raises:
        CheckFailed: a file differs from its digest, or the answers are no numbers.
        ModelError: there is no such model, or it does not load.
    """
    source = resolve(project, reference, registry=registry)
    predictor = Predictor.load(source.folder, num_threads=num_threads, verify=False)
    # The first calls allocate; nobody should wait for that.
    for prediction in [*predictor.predict(_WARM_UP), *predictor.predict(_WARM_UP)]:
        if not all(math.isfinite(score) for score in prediction.scores.values()):
            raise CheckFailed(f"{source.label} answers with {prediction.score} instead of a probability")
    files = artifact_digests(source.checkpoint, source.deployed)
    return Served(source, predictor, files=files, loaded=datetime.now(UTC).isoformat(timespec="seconds"))
