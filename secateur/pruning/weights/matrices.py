"""Which weights may go one by one, what each is worth, and which of them stay."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.structures import Layer

WeightScores = Mapping[str, Tensor]
"""Importance of every single weight by the name of its matrix, (out, in) fp32 each; 0 or more, higher = keep."""


@dataclass(frozen=True)
class WeightMasks:
    """Which single weights stay, ``True`` = keep; all others are zero (removed) or divided (suppressed).

    Attributes:
        matrices: name of ``prunable`` -> (out, in) bool on the CPU.
    """

    matrices: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        for name, mask in self.matrices.items():
            if mask.dtype != torch.bool or mask.dim() != 2:
                raise ValueError(f"a mask of weights is a boolean matrix, found {mask.dtype} {mask.dim()}-d for {name}")

    @property
    def num_weights(self) -> int:
        """Weights that are covered."""
        return sum(mask.numel() for mask in self.matrices.values())

    @property
    def num_removed(self) -> int:
        """Weights that do not stay."""
        return self.num_weights - sum(int(mask.sum()) for mask in self.matrices.values())

    @property
    def sparsity(self) -> float:
        """Share that does not stay, in [0, 1]."""
        return self.num_removed / max(self.num_weights, 1)


def prunable(model: PreTrainedModel) -> dict[str, nn.Linear]:
    """Return every projection of the encoder's layers, by a name that is the same in all families.

    Names are ``layers.0.attention.query`` (``key``, ``value``, ``output``), ``layers.0.ffn.up`` (``up.0`` and
    ``up.1`` in a gated block) and ``layers.0.ffn.down``. Embeddings, norms, biases and the classifier never go:
    they are few, or looked up rather than multiplied. What a cut has left without any weight is not listed.
    """
    layers = family_of(model).layers(model)
    named = ((f"layers.{index}.{name}", linear) for index, layer in enumerate(layers) for name, linear in _named(layer))
    return {name: linear for name, linear in named if linear.weight.numel() > 0}


def source_of(name: str) -> str:
    """Return the matrix that stands for all that read the same input: query for key and value, the first up."""
    return re.sub(r"\.up\.\d+$", ".up.0", re.sub(r"\.(key|value)$", ".query", name))


def zeros_of(model: PreTrainedModel) -> WeightMasks:
    """Derive the masks of a model whose removed weights are zeros."""
    return WeightMasks({name: (linear.weight.detach() != 0).cpu() for name, linear in prunable(model).items()})


def check_fits(masks: WeightMasks, model: PreTrainedModel) -> None:
    """Refuse masks of another model.

    Raises:
        ModelError: names or shapes differ; the first difference is named.
    """
    expected = {name: tuple(linear.weight.shape) for name, linear in prunable(model).items()}
    found = {name: tuple(mask.shape) for name, mask in masks.matrices.items()}
    for name in sorted({*expected, *found}):
        if expected.get(name) != found.get(name):
            raise ModelError(
                f"the masks do not fit the model: {name} is {expected.get(name, 'absent')} in the model and "
                f"{found.get(name, 'absent')} in the masks; use the masks that were written with this checkpoint"
            )


def _named(layer: Layer) -> Iterator[tuple[str, nn.Linear]]:
    attention, ups = layer.attention, layer.ffn.up
    yield from (("attention.query", attention.query), ("attention.key", attention.key))
    yield from (("attention.value", attention.value), ("attention.output", attention.output))
    yield from ((f"ffn.up.{place}" if len(ups) > 1 else "ffn.up", up) for place, up in enumerate(ups))
    yield "ffn.down", layer.ffn.down
