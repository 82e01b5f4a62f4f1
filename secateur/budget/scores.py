"""Importance of every structure that may go."""

from dataclasses import dataclass

from torch import Tensor

from secateur.errors import ModelError


@dataclass(frozen=True)
class Scores:
    """How much the model would miss each structure; higher = keep.

    Attributes:
        heads: per layer (H,) fp32, one value per attention head.
        ffn: per layer (F,) fp32, one value per feed-forward neuron.
    """

    heads: tuple[Tensor, ...]
    ffn: tuple[Tensor, ...]


def check_finite(scores: Scores, *, criterion: str) -> None:
    """Refuse scores that cannot be ranked.

    Raises:
        ModelError: names the layers whose weights or gradients hold NaN or infinity.
    """
    broken = [
        f"layers.{layer}.{kind}"
        for kind, vectors in (("heads", scores.heads), ("ffn", scores.ffn))
        for layer, values in enumerate(vectors)
        if not bool(values.isfinite().all())
    ]
    if broken:
        raise ModelError(
            f"criterion {criterion}: weights or gradients of {', '.join(broken)} hold NaN or infinity and cannot be "
            "ranked; a checkpoint with finite weights and a finite loss on the calibration rows would work"
        )
