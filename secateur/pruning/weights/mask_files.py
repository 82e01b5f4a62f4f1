"""Masks on disk: one bit per weight."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import PreTrainedModel

from secateur.errors import CheckpointError
from secateur.files import replacing
from secateur.pruning.weights.matrices import WeightMasks, check_fits, zeros_of

MASKS = "masks.safetensors"
_SHAPES = "shapes"


def write_weight_masks(file: Path, masks: WeightMasks) -> None:
    """Write masks as packed bits; equal masks give equal bytes."""
    packed = {
        name: torch.from_numpy(np.packbits(mask.cpu().numpy(), axis=None)) for name, mask in masks.matrices.items()
    }
    shapes = {name: list(mask.shape) for name, mask in masks.matrices.items()}
    with replacing(file) as temporary:
        # One key: safetensors writes several in random order.
        save_file(packed, temporary, metadata={_SHAPES: json.dumps(shapes, sort_keys=True)})
        # safetensors writes for the owner alone; other files follow the umask.
        temporary.chmod(0o644)


def read_weight_masks(file: Path) -> WeightMasks:
    """Read what ``write_weight_masks`` wrote.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            shapes = json.loads((opened.metadata() or {})[_SHAPES])
            return WeightMasks({name: _unpacked(opened.get_tensor(name), shapes[name]) for name in shapes})
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{file} is missing; restore the checkpoint or prune again from the one before"
        ) from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{file} holds no masks of weights: {error}; prune again from the round before"
        ) from error


def masks_beside(folder: Path, model: PreTrainedModel) -> WeightMasks:
    """Return the masks of a checkpoint: those in its folder, or its zeros where there are none.

    Raises:
        CheckpointError: the file is damaged.
        ModelError: the file is of another model.
    """
    if not (folder / MASKS).is_file():
        return zeros_of(model)
    masks = read_weight_masks(folder / MASKS)
    check_fits(masks, model)
    return masks


def _unpacked(packed: torch.Tensor, shape: list[int]) -> torch.Tensor:
    rows, columns = shape
    bits = np.unpackbits(packed.numpy(), count=rows * columns)
    return torch.from_numpy(bits.astype(bool)).view(rows, columns)
