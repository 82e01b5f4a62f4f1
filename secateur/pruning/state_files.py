"""What a checkpoint's weights do not tell: in its card, and in files beside them."""

from pathlib import Path

from transformers import PreTrainedModel

from secateur.families.structures import Kept
from secateur.models.card import Card
from secateur.models.surgery import widths_of
from secateur.pruning.state import State
from secateur.pruning.suppression import read_masks, write_masks
from secateur.pruning.weights.mask_files import MASKS, read_weight_masks, write_weight_masks

SUPPRESSED = "suppressed.safetensors"


def write_state(folder: Path, state: State) -> None:
    """Write the masks of what is suppressed or zero; the rest of the state stands in the card."""
    if state.suppressed is not None:
        write_masks(folder / SUPPRESSED, state.suppressed)
    if state.weights is not None:
        write_weight_masks(folder / MASKS, state.weights)


def read_state(folder: Path, model: PreTrainedModel, *, card: Card) -> State:
    """Read the state of a checkpoint; a card that says nothing about it belongs to a dense model.

    Raises:
        CheckpointError: the masks beside the weights are damaged.
    """
    return State(
        kept=Kept.all(widths_of(model)) if card.kept is None else Kept.from_dict(card.kept),
        features=None if card.features is None else tuple(card.features),
        suppressed=read_masks(folder / SUPPRESSED) if (folder / SUPPRESSED).is_file() else None,
        weights=read_weight_masks(folder / MASKS) if (folder / MASKS).is_file() else None,
    )
