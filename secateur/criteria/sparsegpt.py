"""``sparsegpt``: second-order choice, and an update of what stays that makes up for what goes."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from secateur.pruning.criterion import Criterion, NoSettings, OfWeights, SolveMatrix

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from secateur.config.run import Precision
    from secateur.pruning.weights.matrices import WeightScores
    from secateur.pruning.weights.ranking import Removal
    from secateur.training.batches import Batch


def score(
    model: "PreTrainedModel", batches: Iterable["Batch"], *, precision: "Precision", settings: NoSettings
) -> "WeightScores":
    """Return the error of removing one weight alone; the solver computes it again, given what went before."""
    from secateur.pruning.weights.sparsegpt import saliencies

    return saliencies(model, batches, precision=precision)


def look_at_inputs(
    model: "PreTrainedModel", batches: Iterable["Batch"], *, names: tuple[str, ...], precision: "Precision"
) -> SolveMatrix:
    """Take the Gram matrices of the inputs, from which ``secateur.pruning.weights.sparsegpt.solve`` works."""
    from secateur.pruning.weights.matrices import source_of
    from secateur.pruning.weights.sparsegpt import gram_matrices, solve

    grams = gram_matrices(model, batches, names=names, precision=precision)

    def solved(weight: "Tensor", removal: "Removal", *, name: str) -> "tuple[Tensor, Tensor]":
        return solve(weight, grams[source_of(name)], removal, name=name)

    return solved


SPARSEGPT = Criterion(
    name="sparsegpt",
    summary="single weights: least error; what stays makes up for the rest",
    source="Frantar and Alistarh 2023, algorithm 1",
    settings=NoSettings,
    needs=("rows",),
    weights=OfWeights(score=score, within=lambda _: "matrix", solver=look_at_inputs),
)
