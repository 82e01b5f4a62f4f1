"""How structures are scored. One criterion is one file; the files do not know each other."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from transformers import PreTrainedModel

from secateur.config.prune import Criterion, PruneSettings
from secateur.config.run import Precision
from secateur.errors import ModelError
from secateur.pruning.criteria import fisher, fixed_weight, fluctuation, gradient, magnitude, random_order, regularized
from secateur.pruning.scores import Scores
from secateur.training.batches import Batch


class ScoreStructures(Protocol):
    """Scores every head and neuron of a model as it is now; finite, at least 0, higher = keep.

    The scores are comparable over layers and kinds once divided by the price of a structure. Neither the
    weights nor their gradients change; the model may end in evaluation mode.
    """

    def __call__(
        self, model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision, settings: PruneSettings
    ) -> Scores:
        """Return one value per structure."""
        ...


CRITERIA: Mapping[Criterion, ScoreStructures] = {
    "magnitude": magnitude.score,
    "gradient": gradient.score,
    "l1": regularized.score_l1,
    "l2": regularized.score_l2,
    "group_lasso": regularized.score_group_lasso,
    "fixed_weight": fixed_weight.score,
    "fluctuation": fluctuation.score,
    "fisher": fisher.score,
    "random": random_order.score,
}
"""Every criterion of structures by the name it has in params.yaml; ``obs`` scores levels, not single structures."""


def check_finite(scores: Scores, *, criterion: Criterion) -> None:
    """Refuse scores that cannot be ranked.

    Raises:
        ModelError: names the layers whose weights or gradients hold NaN or infinity.
    """
    broken = [
        f"layers.{layer}.{kind}"
        for kind, vectors in (("heads", scores.heads), ("ffn", scores.ffn))
        for layer, values in enumerate(vectors)
        if not bool(values.isfinite().all())
    ]
    if broken:
        raise ModelError(
            f"criterion {criterion}: weights or gradients of {', '.join(broken)} hold NaN or infinity and cannot be "
            "ranked; a checkpoint with finite weights and a finite loss on the calibration rows would work"
        )
