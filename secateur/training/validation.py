"""The score that decides: how well a model does on rows it does not train on."""

import math
from dataclasses import asdict, dataclass
from typing import ClassVar, final

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.data.tokens import TokenRows
from secateur.evaluation.metrics import accuracy, confusion, macro_f1
from secateur.quality import LOSS, MACRO_F1, PERPLEXITY, Measure
from secateur.training.batches import IGNORED, ReadyBatches, Rows, batches_of
from secateur.training.history import HistoryRow, Pass, TextHistoryRow
from secateur.training.objectives import label_loss, logits_of, outputs_of, pad_token_id, summed_loss


@final
@dataclass(frozen=True)
class Scores:
    """Of a classifier: loss in nats per row, accuracy and macro-F1 in [0, 1]."""

    measure: ClassVar[Measure] = MACRO_F1
    history_row: ClassVar[type[Pass]] = HistoryRow

    loss: float
    accuracy: float
    macro_f1: float

    @property
    def quality(self) -> float:
        """The score that decides."""
        return self.macro_f1

    def as_metrics(self) -> dict[str, float]:
        """Return the scores under the names that cards and reports use."""
        return {f"validation_{name}": value for name, value in asdict(self).items()}


@final
@dataclass(frozen=True)
class TextScores:
    """Of a generator: loss in nats per token of the dense model's tokenizer, and its exponential."""

    measure: ClassVar[Measure] = PERPLEXITY
    history_row: ClassVar[type[Pass]] = TextHistoryRow

    loss: float
    perplexity: float

    @property
    def quality(self) -> float:
        """The score that decides."""
        return self.perplexity

    def as_metrics(self) -> dict[str, float]:
        """Return the scores under the names that cards and reports use."""
        return {f"validation_{name}": value for name, value in asdict(self).items()}


@final
@dataclass(frozen=True)
class OwnScores:
    """Of somebody's own batches: the mean of their loss over the rows."""

    measure: ClassVar[Measure] = LOSS
    history_row: ClassVar[type[Pass]] = Pass

    loss: float

    @property
    def quality(self) -> float:
        """The score that decides."""
        return self.loss

    def as_metrics(self) -> dict[str, float]:
        """Return the scores under the names that cards and reports use."""
        return {f"validation_{name}": value for name, value in asdict(self).items()}


AnyScores = Scores | TextScores | OwnScores
"""What a task's models are scored by; each says which score decides, and which way is better."""


def validate(model: PreTrainedModel, rows: Rows, *, batch_size: int, precision: Precision) -> AnyScores:
    """Score a model, rows with labels as a classifier and others as a generator; it stays in evaluation mode."""
    if isinstance(rows, ReadyBatches):
        return _of_batches(model, rows, precision=precision)
    if rows.given is not None:
        return _of_text(model, rows, batch_size=batch_size, precision=precision)
    logits = logits_of(model, rows, batch_size=batch_size, precision=precision)
    counts = confusion(rows.labels, logits.argmax(dim=-1).numpy(), num_labels=logits.shape[-1])
    loss = cross_entropy(logits, torch.from_numpy(rows.labels))
    return Scores(loss=float(loss), accuracy=float(accuracy(counts)), macro_f1=float(macro_f1(counts)))


@torch.no_grad()
def _of_batches(model: PreTrainedModel, rows: ReadyBatches, *, precision: Precision) -> OwnScores:
    model.eval()
    losses = (summed_loss(model, batch.to(model.device), precision=precision) for batch in rows.batches)
    return OwnScores(loss=sum(map(float, losses)) / len(rows))


@torch.no_grad()
def _of_text(model: PreTrainedModel, rows: TokenRows, *, batch_size: int, precision: Precision) -> TextScores:
    model.eval()
    total, count = 0.0, 0
    for batch in batches_of(rows, batch_size=batch_size, pad_token_id=pad_token_id(model)):
        on_device = batch.to(model.device)
        logits = outputs_of(model, on_device, precision=precision).logits
        total += float(label_loss(logits, on_device.labels, reduction="sum"))
        count += int((batch.labels != IGNORED).sum())
    loss = rows.spelling * total / max(count, 1)
    return TextScores(loss=loss, perplexity=math.exp(min(loss, _LARGEST_EXPONENT)))


_LARGEST_EXPONENT = 700.0
"""``exp`` of more is no float; a model that bad is bad enough."""
