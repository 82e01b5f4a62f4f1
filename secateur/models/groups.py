"""Coupled groups: everything that leaves a layer together with one head or one neuron."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from secateur.models.families import family_of
from secateur.models.structures import Attention, Ffn, Masks


@dataclass(frozen=True)
class Groups:
    """The groups of all units of one kind in one layer (Fang et al. 2023, DepGraph, section 3).

    Attributes:
        rows: linears of which a unit owns rows, with their biases: query, key and value, or the up projection(s).
        columns: the linear of which it owns columns: the attention's output or the down projection. Its bias
            belongs to no unit, because it stays whatever goes.
        unit_size: features per unit: ``D`` for a head, 1 for a neuron.
    """

    rows: tuple[nn.Linear, ...]
    columns: nn.Linear
    unit_size: int

    @property
    def num_units(self) -> int:
        """Units that are there (U)."""
        return self.columns.in_features // self.unit_size

    @property
    def num_weights(self) -> int:
        """Matrix entries of one unit, biases left out: what its price is about proportional to."""
        return (len(self.rows) + 1) * self.unit_size * self.columns.out_features

    @property
    def num_parameters(self) -> int:
        """All numbers of one unit, biases included: the |g| of group norms."""
        return self.num_weights + self.unit_size * sum(linear.bias is not None for linear in self.rows)

    def parameters(self) -> Iterator[Tensor]:
        """Yield every tensor that a unit owns a part of."""
        for linear in self.rows:
            yield linear.weight
            if linear.bias is not None:
                yield linear.bias
        yield self.columns.weight

    def sums(self, values: Callable[[Tensor], Tensor]) -> Tensor:
        """Add up, over the group of each unit, values that have the shapes of the parameters; (U,)."""
        of_rows = [
            values(linear.weight).sum(dim=1) + (0.0 if linear.bias is None else values(linear.bias))
            for linear in self.rows
        ]
        features = torch.stack(of_rows).sum(dim=0) + values(self.columns.weight).sum(dim=0)
        return features.view(self.num_units, self.unit_size).sum(dim=1)

    @torch.no_grad()
    def scale_(self, factors: Tensor) -> None:
        """Multiply the whole group of every unit by its factor, (U,), in place; a factor of 1 changes no bit."""
        features = factors.to(self.columns.weight).repeat_interleave(self.unit_size)
        for linear in self.rows:
            linear.weight.mul_(features[:, None])
            if linear.bias is not None:
                linear.bias.mul_(features)
        self.columns.weight.mul_(features)


def of_attention(attention: Attention) -> Groups:
    """Return the groups of the heads of a layer."""
    return Groups(
        rows=(attention.query, attention.key, attention.value),
        columns=attention.output,
        unit_size=attention.head_dim,
    )


def of_ffn(ffn: Ffn) -> Groups:
    """Return the groups of the neurons of a layer."""
    return Groups(rows=ffn.up, columns=ffn.down, unit_size=1)


def with_masks(model: PreTrainedModel, masks: Masks) -> Iterator[tuple[Groups, Tensor]]:
    """Yield the groups of every layer and kind beside their mask, (U,) bool."""
    for layer, heads, ffn in zip(family_of(model).layers(model), masks.heads, masks.ffn, strict=True):
        yield of_attention(layer.attention), heads
        yield of_ffn(layer.ffn), ffn
