"""``l1``: a soft threshold in the training before the cut decides, and the L1 norm reads the result."""

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
    """Return the L1 norm of every coupled group, relative to its layer: what the soft threshold has left of it.

    Without the training of its regulariser this is ``magnitude`` with norm l1.
    """
    from secateur.pruning.group_norms import score_by

    return score_by(model, "l1")


L1 = Criterion(
    name="l1",
    summary="trained under a soft threshold; what became small goes",
    source="Tibshirani 1996, equation 3, as a proximal step after the optimiser's",
    settings=WeightSizeSettings,
    regularizer="l1",
    structures=score,
    weights=WEIGHTS_BY_SIZE,
)
