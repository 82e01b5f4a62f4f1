"""``l1``, ``l2``, ``group_lasso``: the training before the cut decides, and the norm that fits it reads the result."""

from collections.abc import Iterable

from transformers import PreTrainedModel

from secateur.config.prune import PruneSettings
from secateur.config.run import Precision
from secateur.pruning.group_norms import score_by
from secateur.pruning.scores import Scores
from secateur.training.batches import Batch


def score_l1(
    model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision, settings: PruneSettings
) -> Scores:
    """Return the L1 norm of every coupled group, relative to its layer: what the soft threshold has left of it.

    The regulariser is ``secateur.training.regularizers.SoftThreshold``; without its training this is ``magnitude``
    with norm l1.

    Args:
        model: its weights are all that is looked at.
        batches: not read.
        precision: not used.
        settings: not read; the norm follows the regulariser.
    """
    return score_by(model, "l1")


def score_l2(
    model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision, settings: PruneSettings
) -> Scores:
    """Return the L2 norm of every coupled group, relative to its layer.

    Used twice: before the training it chooses the units on which the growing penalty works (Wang et al. 2021, GReg-1,
    chooses by L1 norms), after it those units come first, because they were shrunk by a factor that no other saw.
    Arguments as in ``score_l1``.
    """
    return score_by(model, "l2")


def score_group_lasso(
    model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision, settings: PruneSettings
) -> Scores:
    """Return the L2 norm of every coupled group, relative to its layer; groups that the lasso zeroed score 0.

    The penalty weighs a group by the square root of its size (Yuan and Lin 2006, section 2). That is one factor for
    all groups of a layer and kind, so it cancels in the relative norm. Arguments as in ``score_l1``.
    """
    return score_by(model, "l2")
