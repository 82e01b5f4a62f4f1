"""The structures that may go: attention heads and feed-forward neurons, free of any library's names.

Where several queries share one key and value (grouped-query attention), a head is the whole group: its key, its value
and all of its queries. They cannot leave one by one, because every group must have equally many.

Shape letters: ``E`` hidden size, ``H`` heads of a layer, ``G`` queries per head, ``D`` features per key, value or
query, ``F`` neurons of a layer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

HEAD_NUMBERS = "head_numbers"
"""Name of the buffer that holds ``Attention.numbers`` of a layer that has lost heads."""


@dataclass(frozen=True)
class Widths:
    """How many heads and neurons every layer has.

    Attributes:
        heads: heads (key-value groups) per layer; 0 is a layer without attention.
        ffn: feed-forward neurons per layer; 0 is a layer without that block.
        head_dim: features per head (of a group: of each of its queries), the same in every layer.
    """

    heads: tuple[int, ...]
    ffn: tuple[int, ...]
    head_dim: int

    def __post_init__(self) -> None:
        if len(self.heads) != len(self.ffn):
            raise ValueError(f"heads of {len(self.heads)} layers, neurons of {len(self.ffn)}")

    @property
    def num_layers(self) -> int:
        """Number of layers."""
        return len(self.heads)

    def take(self, layers: Sequence[int]) -> "Widths":
        """Return the widths of some layers, in that order."""
        return Widths(
            heads=tuple(self.heads[index] for index in layers),
            ffn=tuple(self.ffn[index] for index in layers),
            head_dim=self.head_dim,
        )

    def as_dict(self) -> dict[str, list[int] | int]:
        """Return plain lists and numbers, as they stand in a card."""
        return {"heads": list(self.heads), "ffn": list(self.ffn), "head_dim": self.head_dim}


@dataclass(frozen=True)
class Masks:
    """Which heads and neurons stay: one boolean vector per layer, ``True`` = keep.

    Attributes:
        heads: per layer ``(H,)``.
        ffn: per layer ``(F,)``.
    """

    heads: tuple[torch.Tensor, ...]
    ffn: tuple[torch.Tensor, ...]

    def __post_init__(self) -> None:
        if len(self.heads) != len(self.ffn):
            raise ValueError(f"masks of {len(self.heads)} attention layers, of {len(self.ffn)} FFN layers")
        for mask in (*self.heads, *self.ffn):
            if mask.dtype != torch.bool or mask.dim() != 1:
                raise ValueError(f"a mask is a vector of booleans, found {tuple(mask.shape)} of {mask.dtype}")

    @classmethod
    def ones(cls, widths: Widths) -> "Masks":
        """Keep everything."""
        return cls(
            heads=tuple(torch.ones(count, dtype=torch.bool) for count in widths.heads),
            ffn=tuple(torch.ones(count, dtype=torch.bool) for count in widths.ffn),
        )

    def widths(self, head_dim: int) -> Widths:
        """Count what stays."""
        return Widths(
            heads=tuple(int(mask.sum()) for mask in self.heads),
            ffn=tuple(int(mask.sum()) for mask in self.ffn),
            head_dim=head_dim,
        )


@dataclass(frozen=True)
class Kept:
    """Which units of the dense model are still there, by their numbers in the dense model.

    Widths say how many; what is computed against the dense model later (regrowth, hidden states layer by layer)
    needs to know which.

    Attributes:
        layers: the dense layer behind every layer of the model.
        heads: per layer of the model, its dense heads in their order.
        ffn: the same for neurons.
    """

    layers: tuple[int, ...]
    heads: tuple[tuple[int, ...], ...]
    ffn: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if not len(self.layers) == len(self.heads) == len(self.ffn):
            raise ValueError(f"{len(self.layers)} layers, heads of {len(self.heads)}, neurons of {len(self.ffn)}")

    @classmethod
    def all(cls, widths: Widths) -> "Kept":
        """Keep everything of a dense model with these widths."""
        return cls(
            layers=tuple(range(widths.num_layers)),
            heads=tuple(tuple(range(count)) for count in widths.heads),
            ffn=tuple(tuple(range(count)) for count in widths.ffn),
        )

    def after(self, masks: Masks) -> "Kept":
        """Return what is left when a model of this state is cut by ``masks``.

        Raises:
            ValueError: the masks have other sizes.
        """
        return Kept(
            layers=self.layers,
            heads=tuple(_chosen(units, mask) for units, mask in zip(self.heads, masks.heads, strict=True)),
            ffn=tuple(_chosen(units, mask) for units, mask in zip(self.ffn, masks.ffn, strict=True)),
        )

    def after_dropping(self, keep: Sequence[int]) -> "Kept":
        """Return what is left when of a model of this state only the layers ``keep`` stay."""
        return Kept(
            layers=tuple(self.layers[index] for index in keep),
            heads=tuple(self.heads[index] for index in keep),
            ffn=tuple(self.ffn[index] for index in keep),
        )

    def as_dict(self) -> dict[str, list[int] | list[list[int]]]:
        """Return plain lists, as they stand in a card."""
        return {
            "layers": list(self.layers),
            "heads": [list(units) for units in self.heads],
            "ffn": [list(units) for units in self.ffn],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Kept":
        """Read what ``as_dict`` gave."""
        return cls(
            layers=tuple(values["layers"]),
            heads=tuple(map(tuple, values["heads"])),
            ffn=tuple(map(tuple, values["ffn"])),
        )


def _chosen(units: tuple[int, ...], mask: torch.Tensor) -> tuple[int, ...]:
    return tuple(unit for unit, keep in zip(units, mask.tolist(), strict=True) if keep)


@dataclass(frozen=True)
class Attention:
    """The four projections of one attention block.

    Attributes:
        query: ``(H*G*D, E)``, the queries of a head beside each other.
        key: ``(H*D, E)``; ``value`` has the same shape.
        output: ``(E, H*G*D)``. Its input is the concatenated heads: the place for masks and hooks.
        head_dim: ``D``.
        queries_per_head: ``G``; 1 without grouping.
        numbers: the columns of the heads in the table that all layers share (``Family.head_table``); None without one.
    """

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear
    head_dim: int
    queries_per_head: int = 1
    numbers: tuple[int, ...] | None = None

    @property
    def num_heads(self) -> int:
        """Heads that are there."""
        return self.key.out_features // self.head_dim

    @property
    def unit_size(self) -> int:
        """What a head puts out: ``G*D`` features."""
        return self.queries_per_head * self.head_dim


@dataclass(frozen=True)
class Ffn:
    """The projections of one feed-forward block.

    Attributes:
        up: ``(F, E)`` each. One for a plain block, two (gate, up) for a gated one.
        down: ``(E, F)``. Its input is the activated neurons: the place for masks and hooks.
    """

    up: tuple[nn.Linear, ...]
    down: nn.Linear

    @property
    def width(self) -> int:
        """Neurons that are there."""
        return self.down.in_features


@dataclass(frozen=True)
class Reading:
    """One place where a pre-norm model reads its residual stream.

    Attributes:
        norm: what the stream passes first.
        readers: linears behind the norm, ``(out, E)``.
    """

    norm: nn.Module
    readers: tuple[nn.Linear, ...]


@dataclass(frozen=True)
class Anatomy:
    """What every layer of a model has, as far as counting parameters and work needs it.

    Attributes:
        queries_per_head: ``G``.
        num_ups: 1 for a plain feed-forward block, 2 for a gated one.
        query_bias: the query, key and value projections have biases.
        output_bias: the attention's output projection has one.
        up_bias: the up projections have biases.
        down_bias: the down projection has one.
        norm_params: parameters of the norms of a layer.
        positions: rows of a table of relative positions that each query and each key is projected for as well.
    """

    queries_per_head: int
    num_ups: int
    query_bias: bool
    output_bias: bool
    up_bias: bool
    down_bias: bool
    norm_params: int
    positions: int = 0


@dataclass(frozen=True)
class Head:
    """What stands between the last layer and the logits.

    Attributes:
        sizes: ``(in, out)`` of its linears.
        params: all of its parameters, norms included; a matrix that is the embeddings' too belongs to those.
        every_token: whether it sees every token of a row, or one.
    """

    sizes: tuple[tuple[int, int], ...]
    params: int
    every_token: bool


@dataclass(frozen=True)
class Layer:
    """One transformer layer, as far as it can be narrowed."""

    attention: Attention
    ffn: Ffn

    def linears(self) -> Iterator[nn.Linear]:
        """Yield every projection of the layer."""
        attention = self.attention
        yield from (attention.query, attention.key, attention.value, attention.output)
        yield from self.ffn.up
        yield self.ffn.down
