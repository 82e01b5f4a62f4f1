"""DistilBERT (``model_type: distilbert``)."""

from typing import Any

from torch import Tensor

from secateur.families.linear_encoder import LinearEncoder


def attend_to_nothing(attention: Any, hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
    """Stand in for the forward pass of an attention without heads: the bias of its output, no attention weights.

    The empty projections are called, so that hooks on them and gradients through them work as everywhere.
    """
    query, key, value = attention.q_lin(hidden_states), attention.k_lin(hidden_states), attention.v_lin(hidden_states)
    bias: Tensor = attention.out_lin(query + key + value)
    return bias, None


DISTILBERT = LinearEncoder(
    model_type="distilbert",
    embeddings_path="embeddings",
    layers_path="transformer.layer",
    attention_path="attention",
    query_path="attention.q_lin",
    key_path="attention.k_lin",
    value_path="attention.v_lin",
    output_path="attention.out_lin",
    up_paths=("ffn.lin1",),
    down_path="ffn.lin2",
    num_heads_attribute="n_heads",
    all_heads_attribute=None,
    head_paths=("pre_classifier", "classifier"),
    hidden_size_key="dim",
    num_layers_key="n_layers",
    num_heads_key="n_heads",
    ffn_key="hidden_dim",
    forward_without_heads=attend_to_nothing,
)
