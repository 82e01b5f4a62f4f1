"""Importance of every structure that may go."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Scores:
    """How much the model would miss each structure; higher = keep.

    Attributes:
        heads: per layer (H,) fp32, one value per attention head.
        ffn: per layer (F,) fp32, one value per feed-forward neuron.
    """

    heads: tuple[Tensor, ...]
    ffn: tuple[Tensor, ...]
