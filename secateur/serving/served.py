"""A version in memory: checked, loaded, warmed up."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from secateur.data.documents import TextRow, documents_of
from secateur.errors import CheckFailed
from secateur.evaluation.perplexity import document_losses
from secateur.inference.decoding import Sampling
from secateur.inference.prediction import Prediction, Predictor
from secateur.inference.writing import Writer
from secateur.registry.mlflow_store import ModelRegistry
from secateur.registry.model_source import Resolved, artifact_digests, resolve, task_of
from secateur.workflow.project import Project

_WARM_UP = ("a", "a text of some words", "a longer text " * 40)
_WARM_UP_TOKENS = 16


@dataclass(frozen=True)
class Served:
    """What answers.

    Attributes:
        source: the version and its files.
        predictor: a classifier, loaded; None for a generator.
        writer: a generator, loaded; None for a classifier.
        files: file -> sha256 of what was loaded.
        loaded: when, in UTC.
    """

    source: Resolved
    predictor: Predictor | None
    writer: Writer | None
    files: dict[str, str]
    loaded: str

    @property
    def task(self) -> str:
        """What it does."""
        return "classification" if self.writer is None else "generation"

    @property
    def labels(self) -> tuple[str, ...]:
        """What a classifier says, or what a generator can be asked for."""
        return tuple(self.predictor.labels if self.predictor else self.writer.controls if self.writer else ())

    @property
    def max_tokens(self) -> int:
        """What it reads, at most."""
        return self.predictor.max_length if self.predictor else self.writer.context if self.writer else 0

    def predict(self, texts: Sequence[str], *, batch_size: int) -> list[Prediction]:
        """Classify texts as ``secateur predict`` does."""
        assert self.predictor is not None  # the routes of a generator do not ask
        return self.predictor.predict(texts, batch_size=batch_size)


def load(project: Project | None, reference: str, *, num_threads: int, registry: ModelRegistry | None = None) -> Served:
    """Check every file of a model, load it, and let it answer once.

    Raises:
        CheckFailed: a file differs from its digest, or the answers are no numbers.
        ModelError: there is no such model, or it does not load.
    """
    source = resolve(project, reference, registry=registry)
    try:
        predictor = writer = None
        if task_of(source.checkpoint) == "generation":
            writer = _writer(source, num_threads=num_threads)
        else:
            predictor = _predictor(source, num_threads=num_threads)
        files = artifact_digests(source.checkpoint, source.deployed)
    finally:
        source.close()
    return Served(source, predictor, writer, files=files, loaded=datetime.now(UTC).isoformat(timespec="seconds"))


def _predictor(source: Resolved, *, num_threads: int) -> Predictor:
    predictor = Predictor.load(source.folder, num_threads=num_threads, verify=False)
    # The first calls allocate; nobody should wait for that.
    for prediction in [*predictor.predict(_WARM_UP), *predictor.predict(_WARM_UP)]:
        if not all(math.isfinite(score) for score in prediction.scores.values()):
            raise CheckFailed(f"{source.label} answers with {prediction.score} instead of a probability")
    return predictor


def _writer(source: Resolved, *, num_threads: int) -> Writer:
    writer = Writer.load(source.folder, num_threads=num_threads)
    begin = documents_of([TextRow(row=0, text="", label=None)], writer.tokenizer, controls=writer.controls)
    found = document_losses(writer.model, begin, context=writer.context, batch_size=1)
    if not math.isfinite(found.loss):
        raise CheckFailed(f"{source.label} computes no probabilities, so it cannot write")
    for num_texts in (1, 2):
        writer.write([""] * num_texts, sampling=Sampling(_WARM_UP_TOKENS))
    return writer
