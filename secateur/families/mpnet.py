"""MPNet (``model_type: mpnet``), all-mpnet-base-v2 among it: BERT's layers, and a bias for how far tokens are apart.

One table holds that bias, a column per head, and all layers share it. It stays whole: a layer that has lost heads
tells whose columns the others read (``Attention.numbers``), so what a head knows of positions leaves with it, training
goes on with one table, and a padded folder is a model of plain transformers. The forward pass here reads those columns,
and counts heads by their features, as a graph with other widths needs it.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from secateur.errors import ModelError
from secateur.families.linear_encoder import LinearEncoder
from secateur.families.structures import HEAD_NUMBERS

_BUCKETS = 32
_PADDING = 1


def attend(
    attention: Any,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    position_bias: Tensor | None = None,
    output_attentions: bool = False,
    **_: Any,
) -> tuple[Tensor, ...]:
    """Stand in for ``attention.forward``: (B, T, E) to (B, T, E); the bias is (B, dense H, T, T)."""
    query = _heads(attention, attention.q(hidden_states))
    key = _heads(attention, attention.k(hidden_states))
    value = _heads(attention, attention.v(hidden_states))
    scores = query @ key.transpose(-1, -2) / attention.attention_head_size**0.5
    if position_bias is not None:
        scores = scores + _of_heads(attention, position_bias)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = attention.dropout(scores.softmax(dim=-1))
    context = (weights @ value).transpose(1, 2).contiguous().view(*hidden_states.shape[:-1], -1)
    output: Tensor = attention.o(context)
    return (output, weights) if output_attentions else (output,)


def attend_to_nothing(
    attention: Any,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    position_bias: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Stand in for the forward pass of an attention without heads: the bias of its output, no attention weights.

    The empty projections are called, so that hooks on them and gradients through them, and the table, work as
    everywhere.
    """
    empty = attention.q(hidden_states) + attention.k(hidden_states) + attention.v(hidden_states)
    bias: Tensor = attention.o(empty)
    if position_bias is not None and not torch.compiler.is_exporting():
        bias = bias + position_bias[..., :0].sum()
    return bias, None


def _of_heads(attention: Any, position_bias: Tensor) -> Tensor:
    """Return the columns of the heads that are there: (1, H, T, T), because they are the same for all rows."""
    bias, numbers = position_bias[:1], getattr(attention, HEAD_NUMBERS, None)
    return bias if numbers is None else bias.index_select(1, numbers)


def _heads(attention: Any, projected: Tensor) -> Tensor:
    """(B, T, H*D) to (B, H, T, D)."""
    return projected.view(*projected.shape[:-1], -1, attention.attention_head_size).transpose(1, 2)


def check(config: PreTrainedConfig) -> None:
    """Refuse variants whose config says what transformers does not do.

    Raises:
        ModelError: naming what would work.
    """
    buckets, padding = vars(config).get("relative_attention_num_buckets"), vars(config).get("pad_token_id")
    if buckets is None or buckets < _BUCKETS:
        raise ModelError(
            f"mpnet with relative_attention_num_buckets: {buckets}; transformers tells {_BUCKETS} distances apart, so "
            f"{_BUCKETS} or more is supported"
        )
    if padding != _PADDING:
        raise ModelError(
            f"mpnet with pad_token_id: {padding}; transformers counts positions from {_PADDING}, so "
            f"pad_token_id: {_PADDING} is supported"
        )


MPNET = LinearEncoder(
    model_type="mpnet",
    embeddings_path="embeddings",
    layers_path="encoder.layer",
    attention_path="attention.attn",
    query_path="attention.attn.q",
    key_path="attention.attn.k",
    value_path="attention.attn.v",
    output_path="attention.attn.o",
    up_paths=("intermediate.dense",),
    down_path="output.dense",
    num_heads_attribute="num_attention_heads",
    all_heads_attribute="all_head_size",
    head_paths=("classifier",),
    hidden_size_key="hidden_size",
    num_layers_key="num_hidden_layers",
    num_heads_key="num_attention_heads",
    ffn_key="intermediate_size",
    forward_without_heads=attend_to_nothing,
    forward_with_heads=attend,
    positions_follow_padding=True,
    head_table_path="encoder.relative_attention_bias",
    check_variant=check,
)
