"""ModernBERT (``model_type: modernbert``), Ettin's encoders among it: pre-norm, gated, local attention between global.

Query, key and value are stored as one matrix, and so are the two of the gate; here they are linears, called one by one.
Which layers look at a window only stands in ``layer_types``, and goes with them. The first layer reads the embeddings
without a norm of its own; a layer that is left first keeps its own, which plain transformers does not build.
"""

from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb, eager_attention_forward

from secateur.families.fused import Fusion
from secateur.families.linear_encoder import LinearEncoder


def attend(
    attention: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    attention_mask: Tensor | None = None,
    **more: Any,
) -> tuple[Tensor, Tensor | None]:
    """Stand in for ``attention.forward``, which counts on as many features in query, key and value: (B, T, E)."""
    shape = (*hidden_states.shape[:-1], -1, attention.head_dim)
    query, key, value = (part(hidden_states).view(shape).transpose(1, 2) for part in attention.Wqkv.parts)
    query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
    compute = ALL_ATTENTION_FUNCTIONS.get_interface(attention.config._attn_implementation, eager_attention_forward)
    context, weights = compute(
        attention,
        query,
        key,
        value,
        attention_mask,
        dropout=attention.attention_dropout if attention.training else 0.0,
        scaling=attention.head_dim**-0.5,
        sliding_window=attention.sliding_window,
        deterministic=attention.deterministic_flash_attn,
        **more,
    )
    output: Tensor = attention.out_drop(attention.Wo(context.reshape(*hidden_states.shape[:-1], -1).contiguous()))
    return output, weights


def attend_to_nothing(attention: Any, hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
    """Stand in for the forward pass of an attention without heads: what its output is without any input.

    The empty projections are called, so that hooks on them and gradients through them work as everywhere.
    """
    query, key, value = (part(hidden_states) for part in attention.Wqkv.parts)
    bias: Tensor = attention.Wo(query + key + value)
    return bias, None


def feed(ffn: Any, hidden_states: Tensor) -> Tensor:
    """Stand in for ``ffn.forward``, without putting the two parts side by side first: (B, T, E)."""
    inputs, gate = (part(hidden_states) for part in ffn.Wi.parts)
    output: Tensor = ffn.Wo(ffn.drop(ffn.act(inputs) * gate))
    return output


def feed_by_parts_(layer: nn.Module) -> None:
    """Let a layer's feed-forward block call its parts."""
    ffn = layer.get_submodule("mlp")
    ffn.__dict__["forward"] = partial(feed, ffn)


MODERNBERT = LinearEncoder(
    model_type="modernbert",
    embeddings_path="embeddings",
    layers_path="layers",
    attention_path="attn",
    query_path="attn.Wqkv.parts.0",
    key_path="attn.Wqkv.parts.1",
    value_path="attn.Wqkv.parts.2",
    output_path="attn.Wo",
    up_paths=("mlp.Wi.parts.0", "mlp.Wi.parts.1"),
    down_path="mlp.Wo",
    num_heads_attribute=None,
    all_heads_attribute=None,
    head_paths=("head", "classifier"),
    hidden_size_key="hidden_size",
    num_layers_key="num_hidden_layers",
    num_heads_key="num_attention_heads",
    ffn_key="intermediate_size",
    forward_without_heads=attend_to_nothing,
    head_dim_attribute="head_dim",
    block_norm_paths=("attn_norm", "mlp_norm"),
    final_norm_path="final_norm",
    first_norm_is_missing=True,
    fusions=(Fusion("attn.Wqkv", 3), Fusion("mlp.Wi", 2)),
    attention_bias="attention_bias",
    ffn_bias="mlp_bias",
    norm_bias="norm_bias",
    head_bias="classifier_bias",
    head_has_norm=True,
    is_rotary=True,
    forward_with_heads=attend,
    adapt_layer_=feed_by_parts_,
)
