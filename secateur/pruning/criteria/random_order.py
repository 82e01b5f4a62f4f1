"""``random``: the baseline that every other criterion has to beat."""

from collections.abc import Iterable

import torch
from transformers import PreTrainedModel

from secateur.config.prune import PruneSettings
from secateur.config.run import Precision
from secateur.models.families import family_of
from secateur.models.groups import Groups, of_attention, of_ffn
from secateur.pruning.scores import Scores
from secateur.training.batches import Batch

_SEED = 0


def score(model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision, settings: PruneSettings) -> Scores:
    """Return uniform random numbers, shared out over the weights of a structure; the same ones for the same widths.

    The seed is a constant: the choice is random with respect to the model, not from run to run.

    Args:
        model: its widths are all that is looked at.
        batches: not read.
        precision: not used.
        settings: not read.
    """
    generator = torch.Generator().manual_seed(_SEED)

    def draw(groups: Groups) -> torch.Tensor:
        return torch.rand(groups.num_units, generator=generator) * groups.num_weights

    layers = family_of(model).layers(model)
    return Scores(
        heads=tuple(draw(of_attention(layer.attention)) for layer in layers),
        ffn=tuple(draw(of_ffn(layer.ffn)) for layer in layers),
    )
