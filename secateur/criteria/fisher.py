"""``fisher``: a structure is as important as the loss is curved along its mask."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from secateur.pruning.criterion import Criterion, NoSettings, Survey, Terms

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from secateur.training.batches import Batch


def survey(
    model: "PreTrainedModel", batches: Callable[[], Iterable["Batch"]], *, terms: Terms, settings: NoSettings
) -> Survey:
    """Take the Fisher information of the masks of every block: see ``secateur.second_order``."""
    from secateur.pruning.mask_search import mask_search

    return mask_search(model, batches, terms=terms)


FISHER = Criterion(
    name="fisher",
    summary="what the loss is least curved along; masks are tuned",
    source="Kwon et al. 2022, equations 8 to 13",
    settings=NoSettings,
    needs=("rows", "labels"),
    by_loss=True,
    curves=survey,
    at_rest=lambda _: True,
)
