"""``wanda``: a weight is as important as it is large, times how much flows through it."""

from collections.abc import Iterable

from torch import Tensor
from transformers import PreTrainedModel

from secateur.config.prune import PruneSettings
from secateur.config.run import Precision
from secateur.pruning.weights.activations import summed_over_tokens
from secateur.pruning.weights.matrices import WeightScores, prunable, source_of
from secateur.training.batches import Batch


def score(
    model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision, settings: PruneSettings
) -> WeightScores:
    """Return |W_ij| * ||X_j||_2 over all calibration tokens (Sun et al. 2024, equation 1).

    To be compared within each output row, as in the paper. Differs from its reference code in that all layers
    are scored on the activations of the model as it is, not one after the other behind layers that are pruned
    already, and that padding is left out.

    Args:
        model: scored in evaluation mode.
        batches: calibration rows; labels are not read.
        precision: arithmetic of the matrix products.
        settings: not used.
    """
    linears = prunable(model)
    squares = summed_over_tokens(
        model,
        batches,
        linears={name: linear for name, linear in linears.items() if source_of(name) == name},
        statistic=_squares,
        precision=precision,
    )
    return {name: linear.weight.detach().abs() * squares[source_of(name)].sqrt() for name, linear in linears.items()}


def _squares(tokens: Tensor) -> Tensor:
    return tokens.square().sum(dim=0)
