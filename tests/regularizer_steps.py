"""A regulariser at work on the structures of a model."""

from typing import Any

from transformers import PreTrainedModel

from secateur.config.prune import Regularization
from secateur.config.regularizers import REGULARIZERS
from secateur.families.structures import Masks
from secateur.models.surgery import widths_of
from secateur.training.loop import Constraint

RATE = 0.1


def step_of(
    model: PreTrainedModel, name: str, *, chosen: Masks | None = None, strength: float = 0.5, **own: Any
) -> Constraint:
    """Return what acts after a step; where it acts on what will go, that is everything, unless masks say otherwise."""
    found = REGULARIZERS[name]
    training = Regularization(strength=strength, epochs=1.0, learning_rate=RATE)
    settings = found.settings(**({"growth": 1.0} | own if name == "l2" else own))
    if found.on_all is not None:
        return found.on_all(model, training=training, settings=settings)
    ones = Masks.ones(widths_of(model))
    nothing = Masks(heads=tuple(~mask for mask in ones.heads), ffn=tuple(~mask for mask in ones.ffn))
    assert found.on_chosen is not None
    return found.on_chosen.structures(model, training=training, settings=settings, chosen=chosen or nothing)
