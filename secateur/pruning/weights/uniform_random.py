"""``random``: the baseline that looks at nothing."""

from collections.abc import Iterable

import torch
from transformers import PreTrainedModel

from secateur.config.prune import PruneSettings
from secateur.config.run import Precision
from secateur.pruning.weights.matrices import WeightScores, prunable
from secateur.training.batches import Batch

_SEED = 0
"""Fixed: the same weights go in every run, and a higher sparsity takes more of the same."""


def score(
    model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision, settings: PruneSettings
) -> WeightScores:
    """Return uniform numbers in [0, 1), the same for the same shapes.

    Args:
        model: only the shapes of its weights are looked at.
        batches: not read.
        precision: not used.
        settings: not used.
    """
    generator = torch.Generator().manual_seed(_SEED)
    return {
        name: torch.rand(linear.weight.shape, generator=generator).to(linear.weight.device)
        for name, linear in prunable(model).items()
    }
