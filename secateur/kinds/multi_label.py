"""Several labels: any number of them per text, each by itself."""

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
"""Share of the validation rows on which a pruned classifier answers otherwise than dense: the noise of its score.
Taken over from rows of one label; labels of a row change apart, so that their mean is noisier by no more than that."""

_WARM_UP = ("a", "a text of some words", "a longer text " * 40)


@final
class MultiLabel(Kind):
    """Any number of labels for every text, those whose probability is above 0.5; macro-F1 over the labels decides.

    Accuracy is exact match: the share of texts of which all labels are right.
    """

    name: ClassVar[str] = "multi_label"
    does: ClassVar[str] = "give a text any number of labels"
    measure: ClassVar[Measure] = MACRO_F1
    scores: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1", "micro_f1")
    needs_labels: ClassVar[bool] = True
    label_sets: ClassVar[bool] = True
    predicts_labels: ClassVar[bool] = True
    min_labels: ClassVar[int] = 2
    keeps_logits: ClassVar[bool] = True
    is_attacked: ClassVar[bool] = False
    full_precision: ClassVar[bool] = False
    problem_type: ClassVar[str | None] = "multi_label_classification"
    hub_example: ClassVar[str | None] = None
    route: ClassVar[Route] = "predict"
    greetings: ClassVar[tuple[str, ...]] = ("a text", "another one, somewhat longer than the first", "?")
    columns: ClassVar[Mapping[str, str]] = {"labels": "[string]", "scores": "[double]"}
    parameters: ClassVar[Mapping[str, tuple[str, Any]]] = {}

    def problems(self, config: "RunConfig") -> Iterator[str]:
        """See ``Kind``."""
        if config.ingest.label_column is None:
            yield "ingest.label_column must name the column of the labels, or one column for each, found null"
        if len(config.ingest.label_columns) > 1 and config.ingest.label_separator is not None:
            yield (
                f"ingest.label_separator must be null, found {config.ingest.label_separator}: "
                f"{len(config.ingest.label_columns)} label columns hold 0 and 1"
            )
        if config.ingest.format == "text":
            yield "ingest.format text makes one row of a file; labelled rows come from csv, jsonl, parquet or lines"
        if config.clean.split != "none":
            yield f"clean.split must be none, found {config.clean.split}: a label belongs to a whole text"
        if config.baseline.control:
            yield "baseline.control must be false: labels are what the model predicts, not what it is told"
        if config.evaluate.judge is not None:
            yield f"evaluate.judge must be null, found {config.evaluate.judge}: it tells the label of a generated text"
        attacks = "attacks are scored by one label per text"
        if config.prune.max_robust_drop is not None:
            yield f"prune.max_robust_drop must be null, found {config.prune.max_robust_drop:g}: {attacks}"
        for name, rows in (
            ("evaluate.robustness.rows", config.evaluate.robustness.rows),
            ("promote.robustness.rows", config.promote.robustness.rows),
        ):
            if rows:
                yield f"{name} must be 0, found {rows}: {attacks}"

    def completed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See ``Kind``."""
        ingest = values.get("ingest", {})
        parts: dict[str, Any] = {part: dict(values.get(part, {})) for part in ("evaluate", "promote")}
        for section in parts.values():
            section.setdefault("robustness", {"rows": 0})
        return {**values, **parts, "ingest": {**ingest, "label_column": ingest.get("label_column") or "file"}}

    def targets(self, labels: Sequence[str]) -> "Targets":
        """See ``Kind``; 0 and 1 for every label."""
        from secateur.data.indicators import indicated

        return indicated(labels)

    def outputs(self, labels: Sequence[str]) -> Sequence[str]:
        """See ``Kind``; one for every label."""
        return labels

    def claims(self, config: "PreTrainedConfig") -> bool:
        """See ``Kind``; a classifier whose config says so."""
        from secateur.models.heads import head_of

        return not head_of(config).per_token and vars(config).get("problem_type") == self.problem_type

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
        """See ``Kind``; binary cross-entropy of (B, C) logits and 0 or 1 for every label, the mean over labels."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        wanted = labels.to(logits.dtype) * (1.0 - label_smoothing) + label_smoothing / 2.0
        of_rows = binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(dim=-1)
        return of_rows.mean() if reduction == "mean" else of_rows.sum()

    def apart(self, logits: "Tensor", expected: "Tensor") -> "Tensor":
        """See ``Kind``; KL(expected || logits) of every label, in nats, the mean over labels and rows."""
        from torch.nn.functional import kl_div

        found, wanted = self.log_probabilities(logits), self.log_probabilities(expected)
        return kl_div(found, wanted, log_target=True, reduction="batchmean") / logits.shape[-1]

    def log_probabilities(self, logits: "Tensor") -> "Tensor":
        """See ``Kind``; that a text has a label, and that it has not, (..., 2 C)."""
        import torch
        from torch.nn.functional import logsigmoid

        return torch.cat([logsigmoid(logits), logsigmoid(-logits)], dim=-1)

    def direction(self, logits: "Tensor", signs: "Tensor") -> "Tensor":
        """See ``Kind``; ``diag(p (1 - p))``."""
        probabilities = logits.sigmoid()
        return (probabilities * (1.0 - probabilities)).sqrt() * signs

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
        """See ``Kind``; the loss in nats per row and label, exact match, macro-F1 and micro-F1 in [0, 1]."""
        import numpy as np
        import torch

        from secateur.evaluation.said import counted_rows, said_by, scores_of_sums
        from secateur.training.objectives import logits_of
        from secateur.training.validation import Scores

        logits = logits_of(model, rows, batch_size=batch_size, precision=precision)
        counts = counted_rows(rows.labels.astype(np.int64), said_by(logits, sets=True))
        found = scores_of_sums(counts.sum(axis=0), rows=len(rows))
        loss = self.loss(logits, torch.from_numpy(rows.labels))
        return Scores(self.measure, loss=float(loss), values={name: float(value) for name, value in found.items()})

    def noise(self, num_rows: int) -> float:
        """See ``Kind``."""
        return math.sqrt(_FLIPS / num_rows)

    def untaught(self, rows_of: Mapping[str, int]) -> float | None:
        """See ``Kind``: all labels for every row, 2 p / (1 + p) of the share p of each."""
        counts = {name: rows for name, rows in rows_of.items() if name}
        if not (total := rows_of.get("", 0)) or not counts:
            return None
        return sum(2.0 * rows / (total + rows) for rows in counts.values()) / len(counts)

    def evaluated_with(self, settings: "EvaluateSection") -> tuple[str, ...]:
        """See ``Kind``; validation rows choose the settings of the simple classifiers."""
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
        from secateur.report.label_sets import PRESENTATION

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
        from secateur.evaluation.classifier_comparison import sets_again

        return sets_again(folder, test=test, labels=labels)

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
        """See ``Kind``; the labels as Python writes a list of them."""
        found = self.open_model(folder).predict(texts)
        return [{"label": str(list(prediction.labels)), "score": None} for prediction in found]

    def answer_texts(
        self, model: "Predictor", texts: Sequence[str], parameters: Mapping[str, Any]
    ) -> dict[str, list[Any]]:
        """See ``Kind``; all labels above 0.5, and the probability of each."""
        found = model.predict(texts)
        return {
            "labels": [list(one.labels) for one in found],
            "scores": [[float(one.scores[name]) for name in one.labels] for one in found],
        }

    def answer_rows(
        self, model: "Predictor", texts: Sequence[str], *, numbers: Sequence[int], parameters: Mapping[str, Any]
    ) -> "Answers":
        """See ``Kind``; the labels in one cell, and the probability of every label."""
        from secateur.evaluation.set_rows import sets_of_rows

        return sets_of_rows(model, texts)

    def unknown_labels(self, model: "Predictor", labels: Sequence[str]) -> list[str]:
        """See ``Kind``; those that are none of the model's."""
        from secateur.evaluation.classifier_rows import labels_not_of

        return labels_not_of(model, labels)

    def measure_rows(self, model: "Predictor", texts: Sequence[str], labels: Sequence[str | None]) -> "Measured":
        """See ``Kind``; which labels a row has, and which are said."""
        from secateur.evaluation.set_rows import true_and_said

        return true_and_said(model, texts, labels)

    def scores_of(
        self, model: "Predictor", values: "npt.NDArray[np.float64]", *, samples: int, level: float, seed: int
    ) -> "dict[str, Interval]":
        """See ``Kind``; macro-F1 over the labels that the rows have."""
        from secateur.evaluation.set_rows import intervals_of

        return intervals_of(values, samples=samples, level=level, seed=seed)

    def confusion_of(self, model: "Predictor", values: "npt.NDArray[np.float64]") -> None:
        """See ``Kind``; a row with several labels is not taken for another label."""
        return None


KIND = MultiLabel()
