"""Several labels: any number of them per text, each by itself."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from secateur.kinds.labelled import Labelled, unattacked, unattacked_problems

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
class MultiLabel(Labelled):
    """Any number of labels for every text, those whose probability is above 0.5; macro-F1 over the labels decides.

    Accuracy is exact match: the share of texts of which all labels are right.
    """

    name: ClassVar[str] = "multi_label"
    does: ClassVar[str] = "give a text any number of labels"
    scores: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1", "micro_f1")
    label_sets: ClassVar[bool] = True
    is_attacked: ClassVar[bool] = False
    problem_type: ClassVar[str | None] = "multi_label_classification"
    columns: ClassVar[Mapping[str, str]] = {"labels": "[string]", "scores": "[double]"}

    def problems(self, config: "RunConfig") -> Iterator[str]:
        """See ``Kind``."""
        if config.ingest.label_column is None:
            yield "ingest.label_column must name the column of the labels, or one column for each, found null"
        if len(config.ingest.label_columns) > 1 and config.ingest.label_separator is not None:
            yield (
                f"ingest.label_separator must be null, found {config.ingest.label_separator}: "
                f"{len(config.ingest.label_columns)} label columns hold 0 and 1"
            )
        yield from super().problems(config)
        yield from unattacked_problems(config)

    def completed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See ``Kind``."""
        return super().completed(unattacked(values))

    def targets(self, labels: Sequence[str]) -> "Targets":
        """See ``Kind``; 0 and 1 for every label."""
        from secateur.data.indicators import indicated

        return indicated(labels)

    def claims(self, config: "PreTrainedConfig") -> bool:
        """See ``Kind``; a classifier whose config says so."""
        from secateur.models.heads import head_of

        return head_of(config).labelled and vars(config).get("problem_type") == self.problem_type

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

    def start_(self, model: "PreTrainedModel", rows: "TokenRows") -> None:
        """See ``Kind``; the share of the rows that has each label, as Lin et al. 2017, section 4.1, begin.

        From a half for every label the first steps push all of them down through the features that they share, until
        every text has the same: of 23 labels, 1.5 per row, such a model never said one.
        """
        import torch

        from secateur.models.heads import last_of_head

        bias = last_of_head(model).bias
        if bias is not None:
            had = torch.from_numpy(rows.labels).sum(dim=0).to(bias.dtype)
            with torch.no_grad():
                bias.copy_(torch.log((had + 0.5) / (len(rows) - had + 0.5)))

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

    def untaught(self, rows_of: Mapping[str, int]) -> float | None:
        """See ``Kind``: all labels for every row, 2 p / (1 + p) of the share p of each."""
        counts = {name: rows for name, rows in rows_of.items() if name}
        if not (total := rows_of.get("", 0)) or not counts:
            return None
        return sum(2.0 * rows / (total + rows) for rows in counts.values()) / len(counts)

    def presentation(self) -> "Presentation":
        """See ``Kind``."""
        from secateur.report.label_sets import PRESENTATION

        return PRESENTATION

    def answer_again(self, folder: "Path", *, test: "Path", labels: "Path") -> "Answered":
        """See ``Kind``."""
        from secateur.evaluation.classifier_comparison import sets_again

        return sets_again(folder, test=test, labels=labels)

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
