"""Classification: one label per text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from secateur.kinds.labelled import Labelled

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel

    from secateur.config.run import Precision
    from secateur.config.schema import RunConfig
    from secateur.data.tokens import TokenRows
    from secateur.evaluation.findings import Answered
    from secateur.evaluation.metrics import Interval
    from secateur.evaluation.row_scores import Measured
    from secateur.inference.answers import Answers
    from secateur.inference.prediction import Predictor
    from secateur.readers.labels import Targets
    from secateur.report.presentation import Presentation
    from secateur.training.validation import Scores


@final
class Classification(Labelled):
    """A label for every text; macro-F1 decides."""

    name: ClassVar[str] = "classification"
    does: ClassVar[str] = "label a text"
    scores: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")
    judges_by_dense: ClassVar[bool] = True
    is_attacked: ClassVar[bool] = True
    weighs_classes: ClassVar[bool] = True
    problem_type: ClassVar[str | None] = None
    columns: ClassVar[Mapping[str, str]] = {"label": "string", "score": "double"}

    def problems(self, config: "RunConfig") -> Iterator[str]:
        """See ``Kind``."""
        if config.ingest.label_column is None:
            yield "ingest.label_column must name the column of the labels, found null"
        yield from super().problems(config)

    def targets(self, labels: Sequence[str]) -> "Targets":
        """See ``Kind``; every label has an index."""
        from secateur.readers.labels import indexed

        return indexed(labels)

    def claims(self, config: "PreTrainedConfig") -> bool:
        """See ``Kind``; a classifier that chooses one of two labels or more."""
        from secateur.models.heads import head_of

        one_label = vars(config).get("problem_type") in (None, "single_label_classification")
        return head_of(config).labelled and one_label and int(config.num_labels) > 1

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

    def untaught(self, rows_of: Mapping[str, int]) -> float | None:
        """See ``Kind``: the F1 of the most frequent label, 2 p / (1 + p) of its share p, and 0 of all others."""
        if not (total := sum(rows_of.values())):
            return None
        share = max(rows_of.values()) / total
        return 2.0 * share / (1.0 + share) / len(rows_of)

    def presentation(self) -> "Presentation":
        """See ``Kind``."""
        from secateur.report.classifiers import PRESENTATION

        return PRESENTATION

    def answer_again(self, folder: "Path", *, test: "Path", labels: "Path") -> "Answered":
        """See ``Kind``."""
        from secateur.evaluation.classifier_comparison import labels_again

        return labels_again(folder, test=test, labels=labels)

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
