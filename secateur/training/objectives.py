"""What a training step minimises."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.families import family_named
from secateur.inference.precision import autocast, exact_head
from secateur.kinds.registry import kind_named
from secateur.training.batches import IGNORED, Batch, Rows, batches_of
from secateur.training.own_batches import OwnBatch

TOKENS_AT_ONCE = 256
"""Tokens whose logits are widened to fp32 together. All 4 096 of a batch took 186 ms of CPU time for a vocabulary of
3 950, mostly to get the memory; 256 at a time take 56 ms."""

MOST_LOGITS = 2**27
"""Of a generator, at once: 268 MB of bf16. It is 64 rows of 128 tokens of 16 384 words."""


@dataclass(frozen=True)
class Outputs:
    """What a model says about a batch.

    Attributes:
        logits: of a classifier (B, C), fp32; of a generator (B, T, V), in the precision they were computed in: a copy
            in fp32 would be larger than all the rest, so each loss widens a few tokens at a time.
        hidden_states: of the embeddings and of every layer, (B, T, E) each; None when nobody asked for them.
        whole: all that the model returned, with the same logits.
    """

    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    whole: Any = None

    def layers(self) -> tuple[Tensor, ...]:
        """Return the output of every layer, (B, T, E) each."""
        assert self.hidden_states is not None  # an objective that reads them says that it needs them
        return self.hidden_states[1:]


class Objective(Protocol):
    """Maps what the model says about a batch to a scalar loss."""

    @property
    def needs_hidden_states(self) -> bool:
        """Whether ``Outputs.hidden_states`` must be there."""
        ...

    def __call__(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Return the mean over the rows, of a generator over the tokens, in nats."""
        ...


@dataclass(frozen=True)
class LabelLoss:
    """The loss on the labels.

    Attributes:
        label_smoothing: share of the mass that is spread over all labels.
        class_weights: factor of the rows of every label, (labels,); None where all count the same.
    """

    label_smoothing: float
    class_weights: Tensor | None = None

    needs_hidden_states = False

    def __call__(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Return the mean over the rows, of a generator over the tokens."""
        return loss_of(outputs, batch, label_smoothing=self.label_smoothing, class_weights=self.class_weights)


def summed_loss(model: PreTrainedModel, batch: Batch, *, precision: Precision) -> Tensor:
    """Return the loss of a batch summed over its rows, so that the gradient of each row is that of its own loss."""
    outputs = outputs_of(model, batch, precision=precision)
    return loss_of(replace(outputs, logits=outputs.logits.float()), batch, reduction="sum")


def loss_of(
    outputs: Outputs,
    batch: Batch,
    *,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
    reduction: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """Return the loss of a batch: the one that it brings, or that of its kind of task.

    Args:
        outputs: what the model says about it.
        batch: a loss that it brings is a mean over its rows, and smooths no labels.
        label_smoothing: see ``Kind.loss``.
        class_weights: factor of the rows of every label, (labels,); of a mean alone, and not of a loss that is brought.
        reduction: see there.
    """
    if isinstance(batch, OwnBatch):
        mean = batch.own_loss(outputs.whole)
        return mean * len(batch.index) if reduction == "sum" else mean
    kind = kind_named(batch.kind)
    if class_weights is not None and reduction == "mean":
        weights = class_weights.to(batch.labels.device)[batch.labels]
        return kind.weighted_loss(outputs.logits, batch.labels, weights, label_smoothing=label_smoothing)
    logits, labels = standard(outputs.logits, batch), standard(batch.labels, batch)
    return kind.loss(logits, labels, label_smoothing=label_smoothing, reduction=reduction)


def standard(values: Tensor, batch: Batch) -> Tensor:
    """Return numbers of a batch in the units that they are learned in; what is no number as it is."""
    return values if batch.units is None else batch.units.standard(values)


def next_token_loss(
    logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0, reduction: Literal["mean", "sum"] = "mean"
) -> Tensor:
    """Return the cross-entropy of next tokens, in nats.

    Args:
        logits: (B, T, V).
        labels: (B, T); ``IGNORED`` positions count neither in the sum nor in the mean.
        label_smoothing: share of the mass that is spread over all tokens.
        reduction: over tokens.
    """
    flat = (logits.flatten(0, 1), labels.flatten())
    pairs = zip(*(torch.split(tensor, TOKENS_AT_ONCE) for tensor in flat), strict=True)
    parts = [
        cross_entropy(some.float(), next_, ignore_index=IGNORED, label_smoothing=label_smoothing, reduction="sum")
        for some, next_ in pairs
    ]
    total = torch.stack(parts).sum()
    return total if reduction == "sum" else total / (labels != IGNORED).sum()


@dataclass(frozen=True)
class Distillation:
    """``(1 - weight) * loss(labels) + weight * T^2 * apart(student / T, teacher / T)`` (Hinton et al. 2015, section 2).

    Loss and distance are those of the kind of task: cross-entropy and KL divergence where labels are told apart.

    Attributes:
        teacher_logits: of every training row, by position, (rows, C) fp32.
        weight: share of the distillation, in [0, 1].
        temperature: T, above 0.
        label_smoothing: of the loss.
        class_weights: of the loss, see ``LabelLoss``. The distance has none: what the dense model says of a row is what
            it has learned with them.
    """

    teacher_logits: Tensor
    weight: float
    temperature: float
    label_smoothing: float
    class_weights: Tensor | None = None

    needs_hidden_states = False

    def __call__(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Return the mean over the rows."""
        logits = outputs.logits
        hard = loss_of(outputs, batch, label_smoothing=self.label_smoothing, class_weights=self.class_weights)
        if self.weight == 0.0:
            return hard
        teacher = self.teacher_logits.to(logits.device)[batch.index]
        kind = kind_named(batch.kind)
        soft = kind.apart(standard(logits, batch) / self.temperature, standard(teacher, batch) / self.temperature)
        return (1.0 - self.weight) * hard + self.weight * self.temperature**2 * soft


def outputs_of(model: PreTrainedModel, batch: Batch, *, precision: Precision, hidden_states: bool = False) -> Outputs:
    """Run a model on a batch; hidden states come in the precision they were computed in.

    What it says of a row that is read in windows is the mean of what it says of them (``data.windows``).
    """
    asked: dict[str, Any] = {"output_hidden_states": True} if hidden_states else {}
    if family_named(model.config.model_type).generates:
        asked["use_cache"] = False  # nobody reads a next token; the keys and values would be kept for it
    exact = exact_head(model, precision) if kind_named(batch.kind).tells_numbers else nullcontext()
    with autocast(precision, device=batch.input_ids.device), exact:
        outputs: Any = model(**batch.inputs(), **asked)
    # A generator's copy in fp32 is large; a loss of one's own may multiply logits by what is fp32.
    if outputs.logits.dim() != 3 or isinstance(batch, OwnBatch):
        logits = outputs.logits.float()
        outputs.logits = logits if batch.row_of is None else batch.summed(logits) / batch.row_of.bincount()[:, None]
    return Outputs(
        logits=outputs.logits,
        hidden_states=tuple(outputs.hidden_states) if hidden_states else None,
        whole=outputs,
    )


def forward(model: PreTrainedModel, batch: Batch, *, precision: Precision) -> Tensor:
    """Return the logits of a batch, (B, C) or of a generator (B, T, V), fp32."""
    return outputs_of(model, batch, precision=precision).logits.float()


def in_reach(model: PreTrainedModel, batch: Batch) -> list[Batch]:
    """Split a batch whose logits would take a large part of the memory: the rows of a generator with many words.

    Parts keep the width. Losses and logits are those of the batch, but for their last digits.
    """
    num_rows, length = batch.input_ids.shape
    if not family_named(model.config.model_type).generates or batch.labels.dim() < 2 or isinstance(batch, OwnBatch):
        return [batch]
    parts = min(-(-num_rows * length * model.config.vocab_size // MOST_LOGITS), num_rows)
    return [batch] if parts <= 1 else [batch.part(index, of=parts) for index in range(parts)]


@torch.no_grad()
def logits_of(model: PreTrainedModel, rows: Rows, *, batch_size: int, precision: Precision) -> Tensor:
    """Return the logits of all rows in the order of the rows, (rows, C) fp32 on the CPU; not of a generator.

    The model is put into evaluation mode and stays in it.
    """
    model.eval()
    device = model.device
    collected: Tensor | None = None
    for batch in batches_of(rows, batch_size=batch_size, pad_token_id=pad_token_id(model)):
        logits = forward(model, batch.to(device), precision=precision).cpu()
        if collected is None:
            collected = torch.zeros(len(rows), logits.shape[-1])
        collected[batch.index] = logits
    assert collected is not None  # token files hold at least one row
    return collected


def pad_token_id(model: PreTrainedModel) -> int:
    """Return the id that fills short rows; attention ignores it, so 0 serves where none is set."""
    found = model.config.pad_token_id
    return 0 if found is None else int(found)
