"""The units that numbers are learned in: those of the rows are anything, and training wants numbers of order 1."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

Numbers = TypeVar("Numbers", npt.NDArray[np.float64], "torch.Tensor")


@dataclass(frozen=True)
class Units:
    """A number ``y`` of the rows is ``(y - mean) / scale`` where it is learned.

    Attributes:
        mean: of the training rows.
        scale: the power of two next to their standard deviation, so that weights are multiplied by it without rounding.
    """

    mean: float
    scale: float

    @classmethod
    def of(cls, values: npt.NDArray[np.float64]) -> Self:
        """Return the units of training rows, (rows,); those of equal numbers have the scale 1."""
        spread = float(np.std(values))
        return cls(float(np.mean(values)), 2.0 ** round(math.log2(spread)) if spread > 0.0 else 1.0)

    def standard(self, values: Numbers) -> Numbers:
        """Return numbers of the rows as they are learned."""
        return (values - self.mean) / self.scale
