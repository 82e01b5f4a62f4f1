"""Classification: one label per text."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from secateur.kinds.base import Kind
from secateur.quality import MACRO_F1, Measure

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from secateur.config.run import Precision
    from secateur.config.schema import RunConfig
    from secateur.data.labels import Targets
    from secateur.data.tokens import TokenRows
    from secateur.training.lesson import Lesson
    from secateur.training.objectives import Objective
    from secateur.training.validation import Scores

_FLIPS = 0.05
"""Share of the validation rows on which a pruned classifier answers otherwise than dense: the noise of its score."""


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
        from secateur.data.labels import indexed

        return indexed(labels)

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
        from secateur.training.material import tokenize_rows

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
        self, model: "PreTrainedModel", rows: "TokenRows", *, batch_size: int, precision: "Precision"
    ) -> "Scores":
        """See ``Kind``; the loss in nats per row, accuracy and macro-F1 in [0, 1]."""
        import torch

        from secateur.evaluation.metrics import accuracy, confusion, macro_f1
        from secateur.training.objectives import logits_of
        from secateur.training.validation import Scores

        logits = logits_of(model, rows, batch_size=batch_size, precision=precision)
        counts = confusion(rows.labels, logits.argmax(dim=-1).numpy(), num_labels=logits.shape[-1])
        loss = self.loss(logits, torch.from_numpy(rows.labels))
        found = {"accuracy": float(accuracy(counts)), "macro_f1": float(macro_f1(counts))}
        return Scores(self.measure, loss=float(loss), values=found)

    def noise(self, num_rows: int) -> float:
        """See ``Kind``."""
        return math.sqrt(_FLIPS / num_rows)


KIND = Classification()
