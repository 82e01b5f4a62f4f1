"""The score that decides: how well a model does on rows it does not train on."""

from dataclasses import asdict, dataclass

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.data.tokens import TokenRows
from secateur.evaluation.metrics import accuracy, confusion, macro_f1
from secateur.training.objectives import logits_of


@dataclass(frozen=True)
class Scores:
    """Loss in nats per row, accuracy and macro-F1 in [0, 1]."""

    loss: float
    accuracy: float
    macro_f1: float

    def as_metrics(self) -> dict[str, float]:
        """Return the scores under the names that cards and reports use."""
        return {f"validation_{name}": value for name, value in asdict(self).items()}


def validate(model: PreTrainedModel, rows: TokenRows, *, batch_size: int, precision: Precision) -> Scores:
    """Score a model; it stays in evaluation mode."""
    logits = logits_of(model, rows, batch_size=batch_size, precision=precision)
    counts = confusion(rows.labels, logits.argmax(dim=-1).numpy(), num_labels=logits.shape[-1])
    loss = cross_entropy(logits, torch.from_numpy(rows.labels))
    return Scores(loss=float(loss), accuracy=float(accuracy(counts)), macro_f1=float(macro_f1(counts)))
