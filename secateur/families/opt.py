"""OPT (``model_type: opt``), but for its 350m, whose norms stand behind the blocks and whose embeddings are narrower.

Its config knows no ``head_dim``: heads fill the hidden size. Its layers flatten rows before the feed-forward block;
here it sees them as every other block does, to the same sums.
"""

from typing import Any

from torch import Tensor
from torch.nn.functional import dropout

from secateur.families.decoder import Decoder
from secateur.families.decoder_config import DecoderConfig


def _forward(
    layer: Any,
    hidden_states: Tensor,
    *,
    attention_mask: Tensor | None = None,
    past_key_values: Any = None,
    use_cache: bool | None = False,
    **others: Any,
) -> Tensor:
    """Stand in for ``OPTDecoderLayer.forward``: (B, T, E) to (B, T, E)."""
    attended, _ = layer.self_attn(
        layer.self_attn_layer_norm(hidden_states),
        past_key_values=past_key_values,
        attention_mask=attention_mask,
        **others,
    )
    hidden_states = hidden_states + dropout(attended, p=layer.dropout, training=layer.training)
    neurons = layer.activation_fn(layer.fc1(layer.final_layer_norm(hidden_states)))
    return hidden_states + dropout(layer.fc2(neurons), p=layer.dropout, training=layer.training)


OPT = Decoder(
    config=DecoderConfig(
        model_type="opt",
        num_heads=None,
        ffn="ffn_dim",
        query_counts="filling",
        equal_to_hidden=("word_embed_proj_dim",),
        required={
            "do_layer_norm_before": True,
            "layer_norm_elementwise_affine": True,
            "_remove_final_layer_norm": False,
        },
    ),
    embeddings_path="decoder.embed_tokens",
    positions_path="decoder.embed_positions",
    layers_path="decoder.layers",
    final_norm_path="decoder.final_layer_norm",
    ffn_path="",
    attention_norm_path="self_attn_layer_norm",
    ffn_norm_path="final_layer_norm",
    output_path="out_proj",
    up_paths=("fc1",),
    down_path="fc2",
    num_heads_attribute="num_heads",
    layer_forward=_forward,
    norm_is_rms=False,
    query_bias="enable_bias",
    output_bias="enable_bias",
    ffn_bias="enable_bias",
)
