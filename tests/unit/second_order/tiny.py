"""A tiny model with everything that may go, for the tests of second-order methods."""

from collections.abc import Iterator, Mapping

import torch
from transformers import PreTrainedModel

from secateur.budget.allocation import Limits
from secateur.budget.scores import Scores
from secateur.config.prune import Repair
from secateur.models.surgery import widths_of
from secateur.pruning.criterion import Terms
from secateur.pruning.multipliers import apply_multipliers
from secateur.training.batches import Batch, batches_of
from secateur.training.objectives import forward
from tests.unit.pruning.tiny import tiny_rows

LIMITS = Limits(("heads", "ffn"), min_heads=0, ffn_multiple=4, min_neurons=0)


def batches(count: int = 96, *, batch_size: int = 16) -> Iterator[Batch]:
    return batches_of(tiny_rows(count), batch_size=batch_size, pad_token_id=0)


@torch.no_grad()
def logits(model: PreTrainedModel) -> torch.Tensor:
    return torch.cat([forward(model, batch, precision="fp32") for batch in batches()])


def distance(model: PreTrainedModel, other: PreTrainedModel) -> float:
    return float((logits(model) - logits(other)).square().mean())


def terms(model: PreTrainedModel, *, repair: Repair = "none", multipliers: Mapping[str, float] | None = None) -> Terms:
    """Return loose limits, and preset factors where there are any."""
    widths = widths_of(model)
    ones = Scores(heads=tuple(map(torch.ones, widths.heads)), ffn=tuple(map(torch.ones, widths.ffn)))
    factors = apply_multipliers(ones, multipliers, kept=None) if multipliers else ones
    return Terms(limits=LIMITS, factors=factors, repair=repair, seed=0, precision="fp32")
