"""How much a row counts in the loss by its label: rare labels as much as frequent ones, where that is asked for."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from secateur.config.base import ClassWeights


def class_weights(labels: npt.NDArray[np.int64], asked: ClassWeights, *, num_labels: int) -> Tensor | None:
    """Return the factor of every label, (labels,) fp32, whose mean over the rows is 1; None where all count the same.

    ``balanced`` is ``rows / (labels * rows of the label)`` (King and Zeng 2001, section 3.2, as scikit-learn has it):
    every label adds the same to the loss.

    Args:
        labels: index of every training row's label.
        asked: how.
        num_labels: that a model tells apart.
    """
    if asked == "none":
        return None
    counts = np.bincount(labels, minlength=num_labels)
    present = int((counts > 0).sum())
    return torch.from_numpy((len(labels) / (present * np.maximum(counts, 1))).astype(np.float32))
