"""BERT and MiniLM (``model_type: bert``)."""

from typing import Any

from torch import Tensor

from secateur.families.linear_encoder import LinearEncoder


def attend_to_nothing(attention: Any, hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
    """Stand in for the forward pass of an attention without heads: features (B, T, 0), and no attention weights.

    The empty projections are called, so that hooks on them and gradients through them work as everywhere.
    """
    query, key, value = attention.query(hidden_states), attention.key(hidden_states), attention.value(hidden_states)
    empty: Tensor = query + key + value
    return empty, None


BERT = LinearEncoder(
    model_type="bert",
    embeddings_path="embeddings",
    layers_path="encoder.layer",
    attention_path="attention.self",
    query_path="attention.self.query",
    key_path="attention.self.key",
    value_path="attention.self.value",
    output_path="attention.output.dense",
    up_paths=("intermediate.dense",),
    down_path="output.dense",
    num_heads_attribute="num_attention_heads",
    all_heads_attribute="all_head_size",
    head_paths=("{base}.pooler", "classifier"),
    hidden_size_key="hidden_size",
    num_layers_key="num_hidden_layers",
    num_heads_key="num_attention_heads",
    ffn_key="intermediate_size",
    forward_without_heads=attend_to_nothing,
)
