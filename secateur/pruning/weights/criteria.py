"""Every criterion for single weights by the name it has in params.yaml, and what its scores are compared within."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from transformers import PreTrainedModel

from secateur.config.prune import Criterion, PruneSettings
from secateur.config.run import Precision
from secateur.pruning.weights import gradient, magnitude, sparsegpt, uniform_random, wanda
from secateur.pruning.weights.matrices import WeightScores
from secateur.pruning.weights.selection import Comparison
from secateur.training.batches import Batch


class ScoreWeights(Protocol):
    """Scores every single weight of a model as it is now; higher = keep.

    The scores are 0 or more and finite, and mean something within ``comparison_of`` the settings. Neither the
    weights nor their gradients change; the model may end in evaluation mode.
    """

    def __call__(
        self, model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision, settings: PruneSettings
    ) -> WeightScores:
        """Return one value per weight of every matrix."""
        ...


WEIGHT_CRITERIA: Mapping[Criterion, ScoreWeights] = {
    "magnitude": magnitude.score,
    "gradient": gradient.score,
    "l1": magnitude.score,  # after the training that l1 brings with it
    "l2": magnitude.score,
    "fixed_weight": magnitude.score,  # times a table that has to be there
    "wanda": wanda.score,
    "sparsegpt": sparsegpt.score,
    "random": uniform_random.score,
}


def comparison_of(settings: PruneSettings) -> Comparison:
    """Return what the scores of a criterion are compared within.

    LAMP and wanda bring theirs with them; gradients are in nats everywhere, so they are comparable as they are. For
    the others a matrix. Measured on MiniLM-L6 at 50 %, no training, validation macro-F1 (dense 0.789): magnitude
    0.757 within the matrix, 0.738 over the model, 0.755 over the model relative to the matrix's mean, 0.727 by LAMP;
    snip 0.778 over the model, 0.724 within the matrix; taylor 0.681 over the model, 0.633 relative to the mean, 0.619
    within the matrix; wanda 0.774 within the row, 0.770 within the matrix.
    """
    if settings.criterion == "gradient":
        return "model"
    if settings.criterion == "wanda":
        return "row"
    if settings.criterion in ("sparsegpt", "random"):
        return "matrix"
    return "model" if settings.norm == "lamp" else "matrix"
