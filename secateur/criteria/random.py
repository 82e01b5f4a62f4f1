"""``random``: the baseline that every other criterion has to beat."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from secateur.pruning.criterion import Criterion, NoSettings, OfWeights

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from secateur.budget.scores import Scores
    from secateur.config.run import Precision
    from secateur.models.groups import Groups
    from secateur.pruning.weights.matrices import WeightScores
    from secateur.training.batches import Batch

_SEED = 0
"""Fixed: random with respect to the model, not from run to run; a higher sparsity takes more of the same."""


def score(
    model: "PreTrainedModel", batches: Iterable["Batch"], *, precision: "Precision", settings: NoSettings
) -> "Scores":
    """Return uniform random numbers, shared out over the weights of a structure; the same ones for the same widths."""
    import torch

    from secateur.budget.scores import Scores
    from secateur.families import family_of
    from secateur.models.groups import of_attention, of_ffn

    generator = torch.Generator().manual_seed(_SEED)

    def draw(groups: "Groups") -> "Tensor":
        return torch.rand(groups.num_units, generator=generator) * groups.num_weights

    layers = family_of(model).layers(model)
    return Scores(
        heads=tuple(draw(of_attention(layer.attention)) for layer in layers),
        ffn=tuple(draw(of_ffn(layer.ffn)) for layer in layers),
    )


def score_weights(
    model: "PreTrainedModel", batches: Iterable["Batch"], *, precision: "Precision", settings: NoSettings
) -> "WeightScores":
    """Return uniform numbers in [0, 1), the same for the same shapes."""
    import torch

    from secateur.pruning.weights.matrices import prunable

    generator = torch.Generator().manual_seed(_SEED)
    return {
        name: torch.rand(linear.weight.shape, generator=generator).to(linear.weight.device)
        for name, linear in prunable(model).items()
    }


RANDOM = Criterion(
    name="random",
    summary="looks at nothing: what others have to beat",
    source="a generator with a fixed seed",
    settings=NoSettings,
    is_blind=True,
    structures=score,
    weights=OfWeights(score=score_weights, within=lambda _: "matrix"),
)
