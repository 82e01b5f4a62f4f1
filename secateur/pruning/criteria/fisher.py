"""``fisher``: a structure is as important as the loss is curved along its mask."""

from collections.abc import Iterable

from transformers import PreTrainedModel

from secateur.config.prune import PruneSettings
from secateur.config.run import Precision
from secateur.pruning.scores import Scores
from secateur.pruning.second_order.mask_fisher import mask_fisher
from secateur.training.batches import Batch


def score(model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision, settings: PruneSettings) -> Scores:
    """Return half the diagonal of the Fisher information of the masks: the second-order loss of every removal.

    ``1/2 mean_n (dL_n/dm)^2`` at m = 1, with the gradient of every row n by itself (Kwon et al. 2022, equation 8).
    Scores are nats per row and compare over layers and kinds as they are.

    Differs from the paper's code in: it squares the gradient of mini-batches of 32 rows.

    Args:
        model: scored in evaluation mode; its gradients are left as they were.
        batches: calibration rows with labels.
        precision: arithmetic of the passes.
        settings: not read.
    """
    fisher = mask_fisher(model, batches, precision=precision)
    halves = [(0.5 * block.diagonal()).float() for block in fisher]
    return Scores(heads=tuple(halves[: len(halves) // 2]), ffn=tuple(halves[len(halves) // 2 :]))
