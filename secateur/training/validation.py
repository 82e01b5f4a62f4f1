"""The score that decides: how well a model does on rows it does not train on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.kinds.registry import kind_named
from secateur.quality import LOSS, Measure
from secateur.training.batches import ReadyBatches, Rows
from secateur.training.objectives import summed_loss


@final
@dataclass(frozen=True)
class Scores:
    """What a model came to on some rows.

    Attributes:
        measure: the score that decides.
        loss: nats per row, or per token, or what the kind's loss is in.
        values: name -> every other score, the deciding one among them.
        likely: the score that decides, as far as labels and the dense model's answers tell it together; None where
            nobody asked, or the kind has no more to go by than the labels.
    """

    measure: Measure
    loss: float
    values: Mapping[str, float]
    likely: float | None = None

    @property
    def quality(self) -> float:
        """The score that decides."""
        return self.values[self.measure.name]

    @property
    def judged(self) -> float:
        """What a promise is held against."""
        return self.quality if self.likely is None else self.likely

    def as_dict(self) -> dict[str, float]:
        """Return the loss and all scores by name."""
        return {"loss": self.loss, **self.values}

    def as_metrics(self) -> dict[str, float]:
        """Return them under the names that cards and reports use."""
        told = {} if self.likely is None else {f"likely_{self.measure.name}": self.likely}
        return {f"validation_{name}": value for name, value in (self.as_dict() | told).items()}


def measure_of(rows: Rows) -> Measure:
    """Return what a model is judged by on these rows: of somebody's own batches, their own loss."""
    return LOSS if isinstance(rows, ReadyBatches) else kind_named(rows.kind).measure


def validate(
    model: PreTrainedModel,
    rows: Rows,
    *,
    batch_size: int,
    precision: Precision,
    dense_logits: Tensor | None = None,
) -> Scores:
    """Score a model as the kind of the rows does; it stays in evaluation mode.

    Args:
        model: to be scored.
        rows: with labels.
        batch_size: of a pass.
        precision: arithmetic of the matrix products.
        dense_logits: of the dense model on the rows, (rows, C), for a kind that ``judges_by_dense``; None = not asked.
    """
    if isinstance(rows, ReadyBatches):
        return _of_batches(model, rows, precision=precision)
    told = {} if dense_logits is None else {"dense_logits": dense_logits}
    return kind_named(rows.kind).validate(model, rows, batch_size=batch_size, precision=precision, **told)


@torch.no_grad()
def _of_batches(model: PreTrainedModel, rows: ReadyBatches, *, precision: Precision) -> Scores:
    model.eval()
    losses = (summed_loss(model, batch.to(model.device), precision=precision) for batch in rows.batches)
    loss = sum(map(float, losses)) / len(rows)
    return Scores(LOSS, loss=loss, values={LOSS.name: loss})
