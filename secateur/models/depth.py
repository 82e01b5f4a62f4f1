"""Whole layers go: a model with fewer layers is an ordinary one."""

from collections.abc import Sequence

from transformers import PreTrainedModel

from secateur.errors import ModelError
from secateur.families import family_of


def drop_layers_(model: PreTrainedModel, keep: Sequence[int]) -> None:
    """Keep these layers and drop the others; the config counts and numbers what stays.

    A model whose remaining layers are dense has an ordinary config again, which plain transformers builds.
    Optimisers built before the call hold the old parameters.

    Args:
        model: changed in place.
        keep: numbers of the layers that stay, ascending.

    Raises:
        ModelError: nothing stays, or the numbers are no ascending choice of the model's layers.
    """
    family = family_of(model)
    num_layers = len(family.layers(model))
    chosen = list(keep)
    if not chosen or chosen != sorted(set(chosen) & set(range(num_layers))):
        raise ModelError(
            f"asked to keep layers {chosen}, found {num_layers}; "
            f"one or more of 0 to {num_layers - 1}, ascending, would work"
        )
    if len(chosen) < num_layers:
        family.keep_layers_(model, chosen)
