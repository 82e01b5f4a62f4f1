"""``fixed_weight``: importance is preset by a table, and the size of the weights orders what the table leaves equal."""

from collections.abc import Iterable

from transformers import PreTrainedModel

from secateur.config.prune import PruneSettings
from secateur.config.run import Precision
from secateur.pruning.group_norms import score_by
from secateur.pruning.scores import Scores
from secateur.training.batches import Batch


def score(model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision, settings: PruneSettings) -> Scores:
    """Return the size of every coupled structure, as ``magnitude`` does: the base that the table multiplies.

    ``secateur.pruning.multipliers`` applies the table, which this criterion needs to be complete; the same table goes
    with any other criterion.

    Args:
        model: its weights are all that is looked at.
        batches: not read.
        precision: not used.
        settings: ``norm`` chooses.
    """
    return score_by(model, settings.norm)
