"""The action ``suppress``: what is chosen is divided instead of cut, and stays trainable."""

import errno
import os
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel

from secateur.errors import CheckpointError, ModelError
from secateur.families.structures import Masks
from secateur.files import replacing
from secateur.models.groups import with_masks
from secateur.models.surgery import widths_of


@torch.no_grad()
def suppress_(model: PreTrainedModel, masks: Masks, *, divisor: float, already: Masks | None) -> None:
    """Divide the coupled group of every unit whose mask is False, in place, unless an earlier round did.

    What training makes of a suppressed unit decides about it: one whose weights grow again scores high in the next
    round and is kept (rescued: it is left as it is), one that stays small is chosen again, and is removed for good
    when the round's action is ``remove``. The masks of this call are the ``already`` of the next one.

    Query, key, value and output are all divided, so what a head puts out falls by the square of the divisor, and
    its attention becomes uniform; a neuron's falls by the square as well where its activation is linear around 0.

    Args:
        model: changed in place; its widths stay.
        masks: False = suppress, sized for the model's widths.
        divisor: above 1; the source documents divide by 10 000.
        already: masks of the round before, on the same widths; None when nothing is suppressed yet.

    Raises:
        ModelError: the masks have other sizes than the model.
    """
    _check_sizes(model, masks)
    earlier = Masks.ones(widths_of(model)) if already is None else already
    _check_sizes(model, earlier)
    for (groups, keep), (_, unsuppressed) in zip(with_masks(model, masks), with_masks(model, earlier), strict=True):
        groups.scale_(torch.where(~keep & unsuppressed, 1.0 / divisor, 1.0))


def write_masks(path: Path, masks: Masks) -> None:
    """Write masks into a safetensors file, one boolean tensor per layer and kind; equal masks give equal bytes.

    Raises:
        ProjectError: no space is left on the device.
    """
    named = {f"layers.{index}.heads": mask.clone() for index, mask in enumerate(masks.heads)}
    named |= {f"layers.{index}.ffn": mask.clone() for index, mask in enumerate(masks.ffn)}
    with replacing(path) as temporary:
        try:
            safetensors.torch.save_file(named, temporary)
        except SafetensorError as error:
            # Its text is all that is left of the error number.
            if f"os error {errno.ENOSPC}" not in str(error):
                raise
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        # safetensors writes for the owner alone; other files follow the umask.
        temporary.chmod(0o644)


def read_masks(path: Path) -> Masks:
    """Read what ``write_masks`` wrote.

    Raises:
        CheckpointError: the file is missing, damaged, or holds something else.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is not there; the masks of a suppressed model stand beside its weights")
    try:
        named = safetensors.torch.load_file(path)
        num_layers = len(named) // 2
        return Masks(
            heads=tuple(named[f"layers.{index}.heads"] for index in range(num_layers)),
            ffn=tuple(named[f"layers.{index}.ffn"] for index in range(num_layers)),
        )
    except (SafetensorError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} holds no masks of heads and neurons: {reason}") from error


def _check_sizes(model: PreTrainedModel, masks: Masks) -> None:
    widths = widths_of(model)
    found = tuple(map(len, masks.heads)), tuple(map(len, masks.ffn))
    if found != (widths.heads, widths.ffn):
        raise ModelError(
            f"masks for heads {list(found[0])} and neurons {list(found[1])} do not fit a model with "
            f"{list(widths.heads)} and {list(widths.ffn)}"
        )
