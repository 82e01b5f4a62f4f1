"""``fixed_weight``: importance is preset by a table, and the size of the weights orders what the table leaves equal."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from secateur.pruning.criterion import Criterion
from secateur.pruning.sizes import WEIGHTS_BY_SIZE, SizeSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from secateur.budget.scores import Scores
    from secateur.config.run import Precision
    from secateur.training.batches import Batch


def score(
    model: "PreTrainedModel", batches: Iterable["Batch"], *, precision: "Precision", settings: SizeSettings
) -> "Scores":
    """Return the size of every coupled structure, as ``magnitude`` does: the base that the table multiplies.

    ``secateur.pruning.multipliers`` applies the table, which this criterion needs to be complete; the same table goes
    with any other criterion.
    """
    from secateur.pruning.group_norms import score_by

    return score_by(model, settings.norm)


FIXED_WEIGHT = Criterion(
    name="fixed_weight",
    summary="prune.multipliers decides, and size where they say the same",
    source="per-operator settings of neural-compressor and Torch-Pruning, as factors inside one ranking",
    settings=SizeSettings,
    needs=("multipliers",),
    structures=score,
    weights=WEIGHTS_BY_SIZE,
)
