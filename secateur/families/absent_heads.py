"""The forward pass of a decoder's attention that has lost all of its heads."""

from dataclasses import dataclass
from typing import Any, final

from torch import Tensor, nn


@final
@dataclass(frozen=True)
class AbsentHeads:
    """Adds the bias of the output projection, and returns no attention weights.

    The empty projections and norms are called, so that hooks on them and gradients through them work as everywhere. A
    cache counts its tokens by what the first layer has put in, so one zero per token goes in.

    Attributes:
        projection_paths: of query, key and value, relative to the attention.
        output_path: of the output projection.
        norm_paths: of the norms over queries and over keys.
        norms_span_heads: they span all heads of a layer, and keep the width that they had with them.
        layer_index_attribute: says where in the cache the layer stands.
        cache_argument: name that the cache is passed by.
    """

    projection_paths: tuple[str, str, str]
    output_path: str
    norm_paths: tuple[str, str] | None
    layer_index_attribute: str
    cache_argument: str
    norms_span_heads: bool = False

    def __call__(self, attention: Any, hidden_states: Tensor, *_: Any, **given: Any) -> tuple[Tensor, None]:
        """Stand in for ``attention.forward``: (B, T, E) to (B, T, E)."""
        query, key, value = (attention.get_submodule(path)(hidden_states) for path in self.projection_paths)
        if self.norm_paths is not None:
            normed = _beside if self.norms_span_heads else _normed
            query, key = (
                normed(attention.get_submodule(path), empty, head_dim=attention.head_dim)
                for path, empty in zip(self.norm_paths, (query, key), strict=True)
            )
        if (cache := given.get(self.cache_argument)) is not None:
            zeros = hidden_states.new_zeros(hidden_states.shape[0], 1, hidden_states.shape[1], 1)
            cache.update(zeros, zeros, getattr(attention, self.layer_index_attribute))
        bias: Tensor = attention.get_submodule(self.output_path)(query + key + value)
        return bias, None


def _normed(norm: nn.Module, empty: Tensor, *, head_dim: int) -> Tensor:
    output: Tensor = norm(empty.view(*empty.shape[:-1], 0, head_dim))
    return output.flatten(start_dim=-2)


def _beside(norm: nn.Module, empty: Tensor, *, head_dim: int) -> Tensor:
    """Return nothing, as wide as before: the norm of zeros is zero, and its gain has a gradient."""
    zeros: Tensor = norm(empty.new_zeros(norm.get_parameter("weight").shape))
    return empty + zeros.sum()
