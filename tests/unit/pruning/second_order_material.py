"""A tiny model with everything that may go, for the tests of second-order methods."""

from collections.abc import Iterator

import torch
from transformers import PreTrainedModel

from secateur.pruning.allocation import Limits
from secateur.training.batches import Batch, batches_of
from secateur.training.objectives import forward
from tests.unit.pruning.material import tiny_rows

LIMITS = Limits(("heads", "ffn"), min_heads=0, ffn_multiple=4, min_neurons=0)


def batches(count: int = 96, *, batch_size: int = 16) -> Iterator[Batch]:
    return batches_of(tiny_rows(count), batch_size=batch_size, pad_token_id=0)


@torch.no_grad()
def logits(model: PreTrainedModel) -> torch.Tensor:
    return torch.cat([forward(model, batch, precision="fp32") for batch in batches()])


def distance(model: PreTrainedModel, other: PreTrainedModel) -> float:
    return float((logits(model) - logits(other)).square().mean())
