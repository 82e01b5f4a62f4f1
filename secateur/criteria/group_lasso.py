"""``group_lasso``: whole groups go to zero in the training before the cut, and the L2 norm reads the result."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from secateur.pruning.criterion import Criterion, NoSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from secateur.budget.scores import Scores
    from secateur.config.run import Precision
    from secateur.training.batches import Batch


def score(
    model: "PreTrainedModel", batches: Iterable["Batch"], *, precision: "Precision", settings: NoSettings
) -> "Scores":
    """Return the L2 norm of every coupled group, relative to its layer; groups that the lasso zeroed score 0.

    The penalty weighs a group by the square root of its size (Yuan and Lin 2006, section 2). That is one factor for
    all groups of a layer and kind, so it cancels in the relative norm.
    """
    from secateur.pruning.group_norms import score_by

    return score_by(model, "l2")


GROUP_LASSO = Criterion(
    name="group_lasso",
    summary="trained under a group lasso; groups at zero go",
    source="Yuan and Lin 2006, equation 2.4, as a proximal step after the optimiser's",
    settings=NoSettings,
    regularizer="group_lasso",
    structures=score,
)
