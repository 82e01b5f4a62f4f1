"""Classification: one label per text."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from secateur.kinds.base import Kind, Route
from secateur.quality import MACRO_F1, Measure

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from secateur.config.evaluate import EvaluateSection
    from secateur.config.run import Precision
    from secateur.config.schema import RunConfig
    from secateur.data.tokens import TokenRows
    from secateur.evaluation.findings import Answered, Findings, Given
    from secateur.evaluation.metrics import Interval
    from secateur.evaluation.row_scores import Measured
    from secateur.gate.condition import Condition, JudgedRows
    from secateur.inference.answers import Answers
    from secateur.inference.prediction import Predictor
    from secateur.readers.labels import Targets
    from secateur.report.presentation import Presentation
    from secateur.training.lesson import Lesson
    from secateur.training.objectives import Objective
    from secateur.training.validation import Scores

_FLIPS = 0.05
"""Share of the validation rows on which a pruned classifier answers otherwise than dense: the noise of its score."""

_WARM_UP = ("a", "a text of some words", "a longer text " * 40)


@final
class Classification(Kind):
    """A label for every text; macro-F1 decides."""

    name: ClassVar[str] = "classification"
    does: ClassVar[str] = "label a text"
    measure: ClassVar[Measure] = MACRO_F1
    scores: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")
    needs_labels: ClassVar[bool] = True
    predicts_labels: ClassVar[bool] = True
    min_labels: ClassVar[int] = 2
    keeps_logits: ClassVar[bool] = True
    judges_by_dense: ClassVar[bool] = True
    is_attacked: ClassVar[bool] = True
    full_precision: ClassVar[bool] = False
    weighs_classes: ClassVar[bool] = True
    problem_type: ClassVar[str | None] = None
    hub_example: ClassVar[str | None] = None
    route: ClassVar[Route] = "predict"
    greetings: ClassVar[tuple[str, ...]] = ("a text", "another one, somewhat longer than the first", "?")
    columns: ClassVar[Mapping[str, str]] = {"label": "string", "score": "double"}
    parameters: ClassVar[Mapping[str, tuple[str, Any]]] = {}

    def problems(self, config: "RunConfig") -> Iterator[str]:
        """See ``Kind``."""
        if config.ingest.label_column is None:
            yield "ingest.label_column must name the column of the labels, found null"
        if config.ingest.format == "text":
            yield "ingest.format text makes one row of a file; labelled rows come from csv, jsonl, parquet or lines"
        if config.clean.split != "none":
            yield f"clean.split must be none, found {config.clean.split}: a label belongs to a whole text"
        if config.baseline.control:
            yield "baseline.control must be false: labels are what the model predicts, not what it is told"
        if config.evaluate.judge is not None:
            yield f"evaluate.judge must be null, found {config.evaluate.judge}: it tells the label of a generated text"

    def completed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See ``Kind``."""
        ingest = values.get("ingest", {})
        return {**values, "ingest": {**ingest, "label_column": ingest.get("label_column") or "file"}}

    def targets(self, labels: Sequence[str]) -> "Targets":
        """See ``Kind``; every label has an index."""
        from secateur.readers.labels import indexed

        return indexed(labels)

    def outputs(self, labels: Sequence[str]) -> Sequence[str]:
        """See ``Kind``; one for every label."""
        return labels

    def claims(self, config: "PreTrainedConfig") -> bool:
        """See ``Kind``; a classifier that chooses one of two labels or more."""
        from secateur.models.heads import head_of

        one_label = vars(config).get("problem_type") in (None, "single_label_classification")
        return not head_of(config).per_token and one_label and int(config.num_labels) > 1

    def tokenize(
        self,
        tables: Mapping[str, "Path"],
        out: "Path",
        *,
        tokenizer: "PreTrainedTokenizerBase",
        labels: Sequence[str],
        controls: Mapping[str, str],
        max_length: int,
    ) -> int:
        """See ``Kind``."""
        from secateur.training.prepared_rows import tokenize_rows

        return tokenize_rows(tables, out, tokenizer=tokenizer, max_length=max_length, kind=self.name)

    def in_card(self, controls: Mapping[str, str]) -> dict[str, Any]:
        """See ``Kind``."""
        return {}

    def loss(
        self,
        logits: "Tensor",
        labels: "Tensor",
        *,
        label_smoothing: float = 0.0,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> "Tensor":
        """See ``Kind``; cross-entropy of (B, C) logits and (B,) indices, in nats."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction=reduction)

    def weighted_loss(
        self, logits: "Tensor", labels: "Tensor", weights: "Tensor", *, label_smoothing: float = 0.0
    ) -> "Tensor":
        """See ``Kind``; divided by the rows and not, as torch has it, by their weights: batches add up to the data."""
        from torch.nn.functional import cross_entropy

        return (cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none") * weights).mean()

    def apart(self, logits: "Tensor", expected: "Tensor") -> "Tensor":
        """See ``Kind``; KL(expected || logits) in nats per row."""
        import torch
        from torch.nn.functional import kl_div

        found, wanted = torch.log_softmax(logits, dim=-1), torch.log_softmax(expected, dim=-1)
        return kl_div(found, wanted, log_target=True, reduction="batchmean")

    def recovery(self, lesson: "Lesson") -> "Objective":
        """See ``Kind``."""
        from secateur.training.lesson import from_logits

        return from_logits(lesson)

    def validate(
        self,
        model: "PreTrainedModel",
        rows: "TokenRows",
        *,
        batch_size: int,
        precision: "Precision",
        dense_logits: "Tensor | None" = None,
    ) -> "Scores":
        """See ``Kind``; the loss in nats per row, accuracy and macro-F1 in [0, 1]."""
        import torch

        from secateur.evaluation.metrics import accuracy, confusion, macro_f1
        from secateur.statistics.f1 import macro_f1_of_rows
        from secateur.statistics.likely_drop import likely_drop
        from secateur.training.objectives import logits_of
        from secateur.training.validation import Scores

        logits = logits_of(model, rows, batch_size=batch_size, precision=precision)
        counts = confusion(rows.labels, logits.argmax(dim=-1).numpy(), num_labels=logits.shape[-1])
        loss = self.loss(logits, torch.from_numpy(rows.labels))
        found = {"accuracy": float(accuracy(counts)), "macro_f1": float(macro_f1(counts))}
        if dense_logits is None:
            return Scores(self.measure, loss=float(loss), values=found)
        dense = dense_logits.double().numpy()
        before = macro_f1_of_rows(rows.labels, dense.argmax(axis=1), num_labels=dense.shape[1])
        lost = likely_drop(rows.labels, dense=dense, pruned=logits.double().numpy())
        return Scores(self.measure, loss=float(loss), values=found, likely=before - lost)

    def noise(self, num_rows: int) -> float:
        """See ``Kind``."""
        return math.sqrt(_FLIPS / num_rows)

    def untaught(self, rows_of: Mapping[str, int]) -> float | None:
        """See ``Kind``: the F1 of the most frequent label, 2 p / (1 + p) of its share p, and 0 of all others."""
        if not (total := sum(rows_of.values())):
            return None
        share = max(rows_of.values()) / total
        return 2.0 * share / (1.0 + share) / len(rows_of)

    def evaluated_with(self, settings: "EvaluateSection") -> tuple[str, ...]:
        """See ``Kind``; validation rows choose the settings of the simple classifier."""
        return ("train", "validation") if settings.reference else ()

    def evaluate_models(self, given: "Given") -> "Findings":
        """See ``Kind``."""
        from secateur.evaluation.classifier_findings import evaluate_classifiers

        return evaluate_classifiers(given, self)

    def describe_speed(self, settings: "EvaluateSection") -> dict[str, Any]:
        """See ``Kind``."""
        return {}

    def measure_speed(
        self, folders: Mapping[str, "Path"], *, settings: "EvaluateSection", exports: "Path"
    ) -> dict[str, Any]:
        """See ``Kind``; the time of a call says it all."""
        return {}

    def presentation(self) -> "Presentation":
        """See ``Kind``."""
        from secateur.report.classifiers import PRESENTATION

        return PRESENTATION

    def judge_models(
        self, folders: Mapping[str, "Path"], rows: "JudgedRows", *, config: "RunConfig", root: "Path"
    ) -> tuple["Condition", ...]:
        """See ``Kind``."""
        from secateur.evaluation.classifier_measurement import judge_classifiers

        return judge_classifiers(folders, rows, config=config)

    def compare_models(
        self, folders: Mapping[str, "Path"], rows: "JudgedRows", *, num_threads: int, num_examples: int
    ) -> dict[str, Any]:
        """See ``Kind``; predictions that changed, and McNemar's test."""
        from secateur.evaluation.classifier_comparison import compare_classifiers

        return compare_classifiers(folders, rows, num_threads=num_threads, num_examples=num_examples)

    def answer_again(self, folder: "Path", *, test: "Path", labels: "Path") -> "Answered":
        """See ``Kind``."""
        from secateur.evaluation.classifier_comparison import labels_again

        return labels_again(folder, test=test, labels=labels)

    def registered_score(self, metrics: Mapping[str, float]) -> float | None:
        """See ``Kind``."""
        return metrics.get("deployed_macro_f1")

    def open_model(self, folder: "Path", *, num_threads: int = 1, verify: bool = True) -> "Predictor":
        """See ``Kind``."""
        from secateur.inference.prediction import Predictor

        return Predictor.load(folder, num_threads=num_threads, verify=verify)

    def warm_up(self, model: "Predictor", *, label: str) -> None:
        """See ``Kind``; the first calls allocate, and nobody should wait for that."""
        from secateur.errors import CheckFailed, ModelError

        try:
            for _ in range(2):
                model.predict(_WARM_UP)
        except ModelError as error:
            raise CheckFailed(f"{label} gives no probabilities: {error}") from error

    def askable(self, texts: Sequence[str]) -> list[str]:
        """See ``Kind``."""
        return list(texts)

    def probe_model(
        self, folder: "Path", texts: Sequence[str], *, parameters: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """See ``Kind``."""
        found = self.open_model(folder).predict(texts)
        return [{"label": prediction.label, "score": float(prediction.score)} for prediction in found]

    def answer_texts(
        self, model: "Predictor", texts: Sequence[str], parameters: Mapping[str, Any]
    ) -> dict[str, list[Any]]:
        """See ``Kind``."""
        found = model.predict(texts)
        return {"label": [one.label for one in found], "score": [float(one.score) for one in found]}

    def answer_rows(
        self, model: "Predictor", texts: Sequence[str], *, numbers: Sequence[int], parameters: Mapping[str, Any]
    ) -> "Answers":
        """See ``Kind``; the label, its probability, and that of every label."""
        from secateur.evaluation.classifier_rows import labels_of_rows

        return labels_of_rows(model, texts)

    def unknown_labels(self, model: "Predictor", labels: Sequence[str]) -> list[str]:
        """See ``Kind``; those that are none of the model's."""
        from secateur.evaluation.classifier_rows import labels_not_of

        return labels_not_of(model, labels)

    def measure_rows(self, model: "Predictor", texts: Sequence[str], labels: Sequence[str | None]) -> "Measured":
        """See ``Kind``; the index of the label, and of the one that is said."""
        from secateur.evaluation.classifier_rows import true_and_said

        return true_and_said(model, texts, labels)

    def scores_of(
        self, model: "Predictor", values: "npt.NDArray[np.float64]", *, samples: int, level: float, seed: int
    ) -> "dict[str, Interval]":
        """See ``Kind``; macro-F1 over the labels that the rows have."""
        from secateur.evaluation.classifier_rows import counts_of, intervals_of

        return intervals_of(counts_of(model, values), samples=samples, level=level, seed=seed)

    def confusion_of(self, model: "Predictor", values: "npt.NDArray[np.float64]") -> "npt.NDArray[np.int64]":
        """See ``Kind``."""
        from secateur.evaluation.classifier_rows import counts_of

        return counts_of(model, values)


KIND = Classification()
