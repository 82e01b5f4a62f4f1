"""``l2``: what will go decays more and more in the training before the cut, and the L2 norm reads the result."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from secateur.pruning.criterion import Criterion
from secateur.pruning.sizes import WEIGHTS_BY_SIZE, WeightSizeSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from secateur.budget.scores import Scores
    from secateur.config.run import Precision
    from secateur.training.batches import Batch


def score(
    model: "PreTrainedModel", batches: Iterable["Batch"], *, precision: "Precision", settings: WeightSizeSettings
) -> "Scores":
    """Return the L2 norm of every coupled group, relative to its layer.

    Used twice: before the training it chooses the units on which the growing penalty works (the paper chooses by L1
    norms), after it those units come first, because they were shrunk by a factor that no other saw.
    """
    from secateur.pruning.group_norms import score_by

    return score_by(model, "l2")


L2 = Criterion(
    name="l2",
    summary="what will go decays first, so that the rest takes over",
    source="Wang et al. 2021 (growing regularisation), GReg-1, equation 2",
    settings=WeightSizeSettings,
    regularizer="l2",
    structures=score,
    weights=WEIGHTS_BY_SIZE,
)
