"""Coupled groups: everything that leaves a layer together with one head or one neuron."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from secateur.families import family_of
from secateur.families.structures import Attention, Ffn, Masks


@dataclass(frozen=True)
class Groups:
    """The groups of all units of one kind in one layer (Fang et al. 2023, DepGraph, section 3).

    Attributes:
        rows: linears of which a unit owns rows, with their biases: query, key and value, or the up projection(s).
        columns: the linear of which it owns columns: the attention's output or the down projection. Its bias
            belongs to no unit, because it stays whatever goes.
        unit_size: columns per unit: the ``G*D`` features that a head puts out, 1 for a neuron.
        row_sizes: rows per unit in each of ``rows``: as many for queries, ``D`` for key and value.
    """

    rows: tuple[nn.Linear, ...]
    columns: nn.Linear
    unit_size: int
    row_sizes: tuple[int, ...]

    @property
    def num_units(self) -> int:
        """Units that are there (U)."""
        return self.columns.in_features // self.unit_size

    @property
    def num_weights(self) -> int:
        """Matrix entries of one unit, biases left out: what its price is about proportional to."""
        return (sum(self.row_sizes) + self.unit_size) * self.columns.out_features

    @property
    def num_parameters(self) -> int:
        """All numbers of one unit, biases included: the |g| of group norms."""
        biased = (size for linear, size in zip(self.rows, self.row_sizes, strict=True) if linear.bias is not None)
        return self.num_weights + sum(biased)

    def parameters(self) -> Iterator[Tensor]:
        """Yield every tensor that a unit owns a part of."""
        for linear in self.rows:
            yield linear.weight
            if linear.bias is not None:
                yield linear.bias
        yield self.columns.weight

    def sums(self, values: Callable[[Tensor], Tensor]) -> Tensor:
        """Add up, over the group of each unit, values that have the shapes of the parameters; (U,)."""
        if set(self.row_sizes) == {self.unit_size}:
            features = torch.stack([_of_rows(linear, values) for linear in self.rows]).sum(dim=0)
            return self._per_unit(features + values(self.columns.weight).sum(dim=0), self.unit_size)
        of_rows = [
            self._per_unit(_of_rows(linear, values), size)
            for linear, size in zip(self.rows, self.row_sizes, strict=True)
        ]
        return torch.stack(of_rows).sum(dim=0) + self._per_unit(values(self.columns.weight).sum(dim=0), self.unit_size)

    @torch.no_grad()
    def scale_(self, factors: Tensor) -> None:
        """Multiply the whole group of every unit by its factor, (U,), in place; a factor of 1 changes no bit."""
        factors = factors.to(self.columns.weight)
        for linear, size in zip(self.rows, self.row_sizes, strict=True):
            features = factors.repeat_interleave(size)
            linear.weight.mul_(features[:, None])
            if linear.bias is not None:
                linear.bias.mul_(features)
        self.columns.weight.mul_(factors.repeat_interleave(self.unit_size))

    def _per_unit(self, features: Tensor, size: int) -> Tensor:
        return features.view(self.num_units, size).sum(dim=1)


def _of_rows(linear: nn.Linear, values: Callable[[Tensor], Tensor]) -> Tensor:
    return values(linear.weight).sum(dim=1) + (0.0 if linear.bias is None else values(linear.bias))


def of_attention(attention: Attention) -> Groups:
    """Return the groups of the heads of a layer."""
    return Groups(
        rows=(attention.query, attention.key, attention.value),
        columns=attention.output,
        unit_size=attention.unit_size,
        row_sizes=(attention.unit_size, attention.head_dim, attention.head_dim),
    )


def of_ffn(ffn: Ffn) -> Groups:
    """Return the groups of the neurons of a layer."""
    return Groups(rows=ffn.up, columns=ffn.down, unit_size=1, row_sizes=(1,) * len(ffn.up))


def with_masks(model: PreTrainedModel, masks: Masks) -> Iterator[tuple[Groups, Tensor]]:
    """Yield the groups of every layer and kind beside their mask, (U,) bool."""
    for layer, heads, ffn in zip(family_of(model).layers(model), masks.heads, masks.ffn, strict=True):
        yield of_attention(layer.attention), heads
        yield of_ffn(layer.ffn), ffn
