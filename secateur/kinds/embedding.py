"""Embedding: a unit vector for every text, near to those of texts that mean the same."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn, final

from secateur.kinds.base import Route
from secateur.kinds.whole_texts import OfWholeTexts
from secateur.quality import Measure

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel

    from secateur.config.evaluate import EvaluateSection
    from secateur.config.run import Precision
    from secateur.config.schema import RunConfig
    from secateur.data.tokens import TokenRows
    from secateur.evaluation.findings import Answered, Findings, Given
    from secateur.evaluation.metrics import Interval
    from secateur.evaluation.row_scores import Measured
    from secateur.gate.condition import Condition, JudgedRows
    from secateur.inference.answers import Answers
    from secateur.inference.embedding import Embedder
    from secateur.readers.labels import Targets
    from secateur.report.presentation import Presentation
    from secateur.training.lesson import Lesson
    from secateur.training.objectives import Objective
    from secateur.training.validation import Scores

RECALL = Measure("recall_at_10", "recall@10", higher_is_better=True)
"""Share of a text's ten nearest neighbours by the dense model that stay so; of the dense model itself it is 1."""

_SPREAD = 0.2
"""Standard deviation of the recall of a single text, about."""

_WARM_UP = ("a", "a text of some words", "a longer text " * 40)


@final
class Embedding(OfWholeTexts):
    """A unit vector for every text; the neighbours that texts keep decide.

    What a model learns is what the dense model says of the same texts: rows have that for a target, and a label is
    only what vectors may be probed by.
    """

    name: ClassVar[str] = "embedding"
    does: ClassVar[str] = "embed a text"
    measure: ClassVar[Measure] = RECALL
    scores: ClassVar[tuple[str, ...]] = ("recall_at_1", "recall_at_10", "rank_correlation")
    needs_labels: ClassVar[bool] = False
    predicts_labels: ClassVar[bool] = False
    follows_dense: ClassVar[bool] = True
    min_labels: ClassVar[int] = 0
    keeps_logits: ClassVar[bool] = True
    is_attacked: ClassVar[bool] = False
    full_precision: ClassVar[bool] = False
    problem_type: ClassVar[str | None] = None
    hub_example: ClassVar[str | None] = None
    route: ClassVar[Route] = "embed"
    greetings: ClassVar[tuple[str, ...]] = ("a text", "another one, somewhat longer than the first", "?")
    columns: ClassVar[Mapping[str, str]] = {"embedding": "[double]"}
    parameters: ClassVar[Mapping[str, tuple[str, Any]]] = {}
    # What the dense model says without dropout is no answer to what is left of it with dropout. An epoch of 6 000
    # tweets at 0.5 of MiniLM-L6's MACs: recall@10 0.630 before, 0.647 at 2e-4 with dropout, 0.672 at 5e-4 without,
    # 0.650 at 1e-3.
    one_shot: ClassVar[Mapping[str, Any]] = {"recovery.dropout": 0.0, "recovery.learning_rate": 5e-4}

    def problems(self, config: "RunConfig") -> Iterator[str]:
        """See ``Kind``."""
        yield "a project does not prune embedding models; `secateur prune CKPT --data FILE` does"

    def completed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See ``Kind``."""
        return dict(values)

    def targets(self, labels: Sequence[str]) -> "Targets":
        """See ``Kind``; a label says nothing of what is learned."""
        from secateur.readers.labels import indexed

        return indexed(labels)

    def outputs(self, labels: Sequence[str]) -> Sequence[str]:
        """See ``Kind``; the numbers of a vector have no names."""
        return ()

    def claims(self, config: "PreTrainedConfig") -> bool:
        """See ``Kind``; an encoder without a head."""
        from secateur.models.heads import VECTORS, head_of

        return head_of(config) is VECTORS

    def loss(
        self,
        logits: "Tensor",
        labels: "Tensor",
        *,
        label_smoothing: float = 0.0,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> "Tensor":
        """See ``Kind``; half of the squared distance of unit vectors, (B, E) each: 1 - cosine."""
        from torch.nn.functional import normalize

        of_rows = (normalize(logits, dim=-1) - normalize(labels.to(logits.dtype), dim=-1)).square().sum(dim=-1) / 2.0
        return of_rows.mean() if reduction == "mean" else of_rows.sum()

    def apart(self, logits: "Tensor", expected: "Tensor") -> "Tensor":
        """See ``Kind``; the loss."""
        return self.loss(logits, expected)

    def log_probabilities(self, logits: "Tensor") -> "Tensor":
        """See ``Kind``; a softmax so flat that their divergence is about half of the squared distance."""
        return (logits * math.sqrt(logits.shape[-1])).log_softmax(dim=-1)

    def direction(self, logits: "Tensor", signs: "Tensor") -> "Tensor":
        """See ``Kind``; every coordinate counts the same."""
        return signs

    def recovery(self, lesson: "Lesson") -> "Objective":
        """See ``Kind``; the distance to the vectors of the dense model, which rows have for a target.

        What vectors are near to adds nothing to it (Fang et al. 2021, SEED, in place of half of the distance, MiniLM-L6
        at 0.5 of its MACs, an epoch of 6 000 tweets: recall@10 0.616 to 0.657 by temperature, 0.672 without).
        """
        from secateur.training.lesson import with_hidden_states
        from secateur.training.objectives import LabelLoss

        return with_hidden_states(LabelLoss(label_smoothing=0.0), lesson)

    def validate(
        self,
        model: "PreTrainedModel",
        rows: "TokenRows",
        *,
        batch_size: int,
        precision: "Precision",
        dense_logits: "Tensor | None" = None,
    ) -> "Scores":
        """See ``Kind``; 1 - cosine to the dense model's vectors, and the neighbours that are kept among the rows."""
        import torch

        from secateur.statistics.neighbours import neighbours_kept
        from secateur.training.objectives import logits_of
        from secateur.training.validation import Scores

        logits, dense = (
            logits_of(model, rows, batch_size=batch_size, precision=precision),
            torch.from_numpy(rows.labels),
        )
        values = neighbours_kept(logits, dense).means()
        return Scores(self.measure, loss=float(self.loss(logits, dense)), values=values)

    def probed(
        self,
        learned: "tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]",
        held: "tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]",
    ) -> dict[str, float]:
        """See ``Kind``; macro-F1 of logistic regression on the vectors."""
        from secateur.statistics.probe import probe

        return {"probe_macro_f1": probe(*learned, *held)}

    def why_unprobed(self, labels: "npt.NDArray[np.int64]") -> str | None:
        """See ``Kind``."""
        from secateur.statistics.probe import why_unprobed

        return why_unprobed(labels)

    def noise(self, num_rows: int) -> float:
        """See ``Kind``."""
        return _SPREAD / math.sqrt(num_rows)

    def evaluated_with(self, settings: "EvaluateSection") -> tuple[str, ...]:
        """See ``Kind``."""
        return ()

    def evaluate_models(self, given: "Given") -> "Findings":
        """See ``Kind``."""
        _no_project()

    def presentation(self) -> "Presentation":
        """See ``Kind``."""
        from secateur.report.embeddings import PRESENTATION

        return PRESENTATION

    def judge_models(
        self, folders: Mapping[str, "Path"], rows: "JudgedRows", *, config: "RunConfig", root: "Path"
    ) -> tuple["Condition", ...]:
        """See ``Kind``."""
        _no_project()

    def compare_models(
        self, folders: Mapping[str, "Path"], rows: "JudgedRows", *, num_threads: int, num_examples: int
    ) -> dict[str, Any]:
        """See ``Kind``."""
        _no_project()

    def answer_again(self, folder: "Path", *, test: "Path", labels: "Path") -> "Answered":
        """See ``Kind``."""
        _no_project()

    def registered_score(self, metrics: Mapping[str, float]) -> float | None:
        """See ``Kind``."""
        return metrics.get("deployed_recall_at_10")

    def open_model(self, folder: "Path", *, num_threads: int = 1, verify: bool = True) -> "Embedder":
        """See ``Kind``."""
        from secateur.inference.embedding import Embedder

        return Embedder.load(folder, num_threads=num_threads, verify=verify)

    def warm_up(self, model: "Embedder", *, label: str) -> None:
        """See ``Kind``; the first calls allocate, and nobody should wait for that."""
        from secateur.errors import CheckFailed, ModelError

        try:
            for _ in range(2):
                model.embed(_WARM_UP)
        except ModelError as error:
            raise CheckFailed(f"{label} gives no vectors: {error}") from error

    def probe_model(
        self, folder: "Path", texts: Sequence[str], *, parameters: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """See ``Kind``; the first numbers of every vector."""
        found = self.open_model(folder).embed(texts).vectors
        return [{"label": " ".join(f"{value:.3f}" for value in vector[:4]), "score": None} for vector in found]

    def answer_texts(
        self, model: "Embedder", texts: Sequence[str], parameters: Mapping[str, Any]
    ) -> dict[str, list[Any]]:
        """See ``Kind``."""
        return {"embedding": model.embed(texts).vectors.tolist()}

    def answer_rows(
        self, model: "Embedder", texts: Sequence[str], *, numbers: Sequence[int], parameters: Mapping[str, Any]
    ) -> "Answers":
        """See ``Kind``; a vector of fp32 numbers in one cell."""
        from secateur.inference.answers import Answers

        found = model.embed(texts)
        return Answers({"embedding": list(found.vectors)}, num_cut=sum(found.cut))

    def unknown_labels(self, model: "Embedder", labels: Sequence[str]) -> list[str]:
        """See ``Kind``; any label may be probed."""
        return []

    def measure_rows(self, model: "Embedder", texts: Sequence[str], labels: Sequence[str | None]) -> "Measured":
        """See ``Kind``."""
        from secateur.errors import ModelError

        raise ModelError("an embedding model is worth what it keeps; `secateur evaluate --dense` says how much")

    def scores_of(
        self, model: "Embedder", values: "npt.NDArray[np.float64]", *, samples: int, level: float, seed: int
    ) -> "dict[str, Interval]":
        """See ``Kind``."""
        _no_project()

    def confusion_of(self, model: "Embedder", values: "npt.NDArray[np.float64]") -> None:
        """See ``Kind``."""
        return None


def _no_project() -> NoReturn:
    raise NotImplementedError("see problems")


KIND = Embedding()
