"""The structures that may go: attention heads and feed-forward neurons, free of any library's names.

Shape letters: ``E`` hidden size, ``H`` heads of a layer, ``D`` features per head, ``F`` neurons of a layer.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Widths:
    """How many heads and neurons every layer has.

    Attributes:
        heads: heads per layer.
        ffn: feed-forward neurons per layer.
        head_dim: features per head, the same in every layer.
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
class Attention:
    """The four projections of one attention block.

    Attributes:
        query: ``(H*D, E)``; ``key`` and ``value`` have the same shape.
        output: ``(E, H*D)``. Its input is the concatenated heads: the place for masks and hooks.
        head_dim: ``D``.
    """

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear
    head_dim: int

    @property
    def num_heads(self) -> int:
        """Heads that are there."""
        return self.query.out_features // self.head_dim


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
