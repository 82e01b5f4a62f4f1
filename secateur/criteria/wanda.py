"""``wanda``: a weight is as important as it is large, times how much flows through it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from secateur.pruning.criterion import Criterion, NoSettings, OfWeights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from secateur.config.run import Precision
    from secateur.pruning.weights.matrices import WeightScores
    from secateur.training.batches import Batch


def score(
    model: "PreTrainedModel", batches: Iterable["Batch"], *, precision: "Precision", settings: NoSettings
) -> "WeightScores":
    """Return |W_ij| * ||X_j||_2 over all calibration tokens.

    Differs from the paper's code in that all layers are scored on the activations of the model as it is, not one
    after the other behind layers that are pruned already, and that padding is left out.
    """
    from secateur.pruning.weights.activations import summed_over_tokens
    from secateur.pruning.weights.matrices import prunable, source_of

    linears = prunable(model)
    squares = summed_over_tokens(
        model,
        batches,
        linears={name: linear for name, linear in linears.items() if source_of(name) == name},
        statistic=lambda tokens: tokens.square().sum(dim=0),
        precision=precision,
    )
    return {name: linear.weight.detach().abs() * squares[source_of(name)].sqrt() for name, linear in linears.items()}


WANDA = Criterion(
    name="wanda",
    summary="single weights: size times the norm of the input",
    source="Sun et al. 2024, equation 1",
    settings=NoSettings,
    needs=("rows",),
    # As in the paper: 0.774 (validation macro-F1 at 50 %, MiniLM-L6, no training), within the matrix 0.770.
    weights=OfWeights(score=score, within=lambda _: "row"),
)
