"""The blocks of a model as second-order methods see them: a projection whose input columns come in units."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from secateur.families import family_of
from secateur.families.structures import Masks
from secateur.inference.at_rest import SMALL
from secateur.models.groups import of_attention, of_ffn


@dataclass(frozen=True)
class Block:
    """Attention or feed-forward part of one layer.

    Attributes:
        entry: what reads the residual stream: a linear, or the norm in front of it.
        projection: the linear that writes to it; its inputs are the units' features.
        unit_size: features per unit.
    """

    entry: nn.Module
    projection: nn.Linear
    unit_size: int

    @property
    def num_units(self) -> int:
        """Heads or neurons that are there."""
        return self.projection.in_features // self.unit_size

    def inputs_kept(self, mask: Tensor) -> Tensor:
        """Return the numbers of the inputs of the units that stay, and last that of the constant 1."""
        features = mask.repeat_interleave(self.unit_size)
        return torch.cat([features, torch.ones(1, dtype=torch.bool)]).nonzero()[:, 0]

    def extended_weight(self) -> Tensor:
        """Return weight and, as last column, bias, (E, N) float64; a projection without bias has zeros there."""
        weight = self.projection.weight.detach()
        bias = self.projection.bias
        last = weight.new_zeros(len(weight)) if bias is None else bias.detach()
        return torch.cat([weight, last[:, None]], dim=1).double().cpu()

    def write_(self, extended: Tensor) -> None:
        """Overwrite weight and bias in place; a weight of 16 bits becomes one of fp32, and nothing is rounded twice.

        Args:
            extended: (E, N).
        """
        linear = self.projection
        if linear.weight.dtype in SMALL:
            linear.weight = nn.Parameter(linear.weight.detach().float())
            linear.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().float())
        with torch.no_grad():
            linear.weight.copy_(extended[:, :-1])
            if linear.bias is not None:
                linear.bias.copy_(extended[:, -1])


def blocks_of(model: PreTrainedModel) -> list[Block]:
    """Return attention of all layers, then the feed-forward parts of all layers; the modules are the model's own."""
    family = family_of(model)
    layers = family.layers(model)
    readers: list[tuple[nn.Module, nn.Module]] = [(layer.attention.query, layer.ffn.up[0]) for layer in layers]
    if family.is_pre_norm:
        norms = family.stream_norms(model)
        readers = list(zip(norms[0 : 2 * len(layers) : 2], norms[1 : 2 * len(layers) : 2], strict=True))
    attention = [
        Block(entry, layer.attention.output, of_attention(layer.attention).unit_size)
        for layer, (entry, _) in zip(layers, readers, strict=True)
    ]
    return attention + [
        Block(entry, layer.ffn.down, of_ffn(layer.ffn).unit_size)
        for layer, (_, entry) in zip(layers, readers, strict=True)
    ]


def with_own_projections(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy whose last projections are its own, and which shares all else with the model.

    For whoever writes or silences projections and wants the model, or what it was, beside it: a third of the memory of
    a whole copy. What changes any other parameter in place changes both.
    """
    own = {id(parameter) for block in blocks_of(model) for parameter in block.projection.parameters()}
    shared = {id(parameter): parameter for parameter in model.parameters() if id(parameter) not in own}
    return copy.deepcopy(model, shared)


def masks_of_blocks(masks: Masks) -> list[Tensor]:
    """Return the masks in the order of ``blocks_of``."""
    return [*masks.heads, *masks.ffn]
