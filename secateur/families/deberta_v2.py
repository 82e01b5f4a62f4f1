"""DeBERTa 2 and 3 (``model_type: deberta-v2``): BERT's layers, attention that knows how far tokens are apart.

Queries and keys are projected for a table of relative positions too, by the same matrices, so what a head knows of
positions leaves with it. Transformers' forward pass counts heads by an attribute and calls both projections twice; the
one here counts them by their features, as a graph with other widths needs it, and calls them once, so that whoever
records inputs sees those of tokens.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import PreTrainedConfig

from secateur.errors import ModelError
from secateur.families.linear_encoder import LinearEncoder
from secateur.families.linears import EmptyLinear

_USES = {"c2p", "p2c"}


def attend(
    attention: Any,
    hidden_states: Tensor,
    attention_mask: Tensor,
    output_attentions: bool = False,
    query_states: Tensor | None = None,
    relative_pos: Tensor | None = None,
    rel_embeddings: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Stand in for ``attention.forward``: (B, T, E) to (B, T, H*D), He et al. 2021, DeBERTa, equation 4."""
    queries = hidden_states if query_states is None else query_states
    query = _heads(attention, attention.query_proj(queries))
    key = _heads(attention, attention.key_proj(hidden_states))
    value = _heads(attention, attention.value_proj(hidden_states))
    terms = 1 if rel_embeddings is None else 1 + len(_USES)
    scale = (query.shape[-1] * terms) ** 0.5
    scores = query @ (key.transpose(-1, -2) / scale)
    if rel_embeddings is not None and relative_pos is not None:
        scores = scores + _of_positions(attention, query, key, relative_pos, rel_embeddings) / scale
    scores = scores.masked_fill(~attention_mask.bool(), torch.finfo(query.dtype).min)
    weights = attention.dropout(scores.softmax(dim=-1))
    context: Tensor = (weights @ value).transpose(1, 2).contiguous().view(*queries.shape[:-1], -1)
    return context, weights if output_attentions else None


def attend_to_nothing(
    attention: Any, hidden_states: Tensor, *_: Any, rel_embeddings: Tensor | None = None, **__: Any
) -> tuple[Tensor, None]:
    """Stand in for the forward pass of an attention without heads: features (B, T, 0), and no attention weights.

    The empty projections are called, so that hooks on them and gradients through them work as everywhere.
    """
    query, key = attention.query_proj(hidden_states), attention.key_proj(hidden_states)
    empty: Tensor = query + key + attention.value_proj(hidden_states)
    if rel_embeddings is not None:
        of_positions = _uncalled(attention.query_proj)(rel_embeddings) + _uncalled(attention.key_proj)(rel_embeddings)
        empty = empty + of_positions.sum()
    return empty, None


def _of_positions(attention: Any, query: Tensor, key: Tensor, relative_pos: Tensor, rel_embeddings: Tensor) -> Tensor:
    """Return what queries say of the positions of keys, and keys of those of queries: (B, H, T, T), not scaled."""
    span = attention.pos_ebd_size
    table = attention.pos_dropout(rel_embeddings)[: 2 * span][None]
    # As many as there are rows, so that the products below need no reshaping, which would name the number of heads.
    everywhere = (query.shape[0], -1, -1, -1)
    of_queries = _heads(attention, _uncalled(attention.query_proj)(table)).expand(everywhere)
    of_keys = _heads(attention, _uncalled(attention.key_proj)(table)).expand(everywhere)
    distance, last = relative_pos.long().view(relative_pos.shape[-2:]), 2 * span - 1
    to_positions = _each(query @ of_keys.transpose(-1, -2), (distance + span).clamp(0, last))
    from_positions = _each(key @ of_queries.transpose(-1, -2), (span - distance).clamp(0, last))
    return to_positions + from_positions.transpose(-1, -2)


def _each(scores: Tensor, places: Tensor) -> Tensor:
    """Take ``scores[..., t, places[t, u]]`` out of (B, H, T, P): (B, H, T, T)."""
    if torch.compiler.is_exporting():
        # A graph must not know the number of heads, because narrower ones are cut out of it.
        return scores[:, :, torch.arange(places.shape[0], device=places.device)[:, None], places]
    return scores.gather(-1, places.expand(*scores.shape[:2], -1, -1))  # its gradient is quicker


def _heads(attention: Any, projected: Tensor) -> Tensor:
    """(B, T, H*D) to (B, H, T, D)."""
    return projected.view(*projected.shape[:-1], -1, attention.attention_head_size).transpose(1, 2)


def _uncalled(projection: Any) -> Callable[[Tensor], Tensor]:
    """Return what a linear does, past its hooks; an adapter or a quantised linear does it itself."""
    if type(projection) in (nn.Linear, EmptyLinear):
        return partial(linear, weight=projection.weight, bias=projection.bias)
    called: Callable[[Tensor], Tensor] = projection
    return called


def check(config: PreTrainedConfig) -> None:
    """Refuse variants whose layers hold more than the table names.

    Raises:
        ModelError: naming what is not supported.
    """
    values, wrong = vars(config), None
    sizes = {values[key] for key in ("hidden_size", "embedding_size", "pooler_hidden_size") if key in values}
    if values.get("conv_kernel_size"):
        wrong = f"conv_kernel_size: {values['conv_kernel_size']}; without a convolution it is"
    elif not values.get("relative_attention"):
        wrong = "relative_attention: false; relative_attention: true is"
    elif not values.get("share_att_key") or set(values.get("pos_att_type") or ()) != _USES:
        wrong = "its positions projected apart or used once; share_att_key: true, pos_att_type: [c2p, p2c] is"
    elif len(sizes) > 1:
        wrong = "embeddings or a pooler of another width than its layers; of the same it is"
    if wrong is not None:
        raise ModelError(f"deberta-v2 with {wrong}")


def num_positions(config: PreTrainedConfig) -> int:
    """Return the rows of the table of relative positions."""
    values = vars(config)
    for key in ("position_buckets", "max_relative_positions"):
        if (values.get(key) or -1) > 0:
            return 2 * int(values[key])
    return 2 * int(values["max_position_embeddings"])


DEBERTA_V2 = LinearEncoder(
    model_type="deberta-v2",
    embeddings_path="embeddings",
    layers_path="encoder.layer",
    attention_path="attention.self",
    query_path="attention.self.query_proj",
    key_path="attention.self.key_proj",
    value_path="attention.self.value_proj",
    output_path="attention.output.dense",
    up_paths=("intermediate.dense",),
    down_path="output.dense",
    num_heads_attribute="num_attention_heads",
    all_heads_attribute="all_head_size",
    head_paths=("pooler", "classifier"),
    hidden_size_key="hidden_size",
    num_layers_key="num_hidden_layers",
    num_heads_key="num_attention_heads",
    ffn_key="intermediate_size",
    forward_without_heads=attend_to_nothing,
    forward_with_heads=attend,
    position_paths=("encoder.rel_embeddings", "encoder.LayerNorm"),
    num_positions=num_positions,
    widths_of_head=("pooler_hidden_size", "embedding_size"),
    check_variant=check,
)
