"""GPT-2 (``model_type: gpt2``).

Its config knows no ``head_dim``: heads fill the hidden size, so a model with fewer of them is read by our loader, or
padded. Query, key and value are one matrix, stored as ``(in, out)`` like all others; here they are linears.
"""

from secateur.families.decoder import Decoder
from secateur.families.decoder_config import DecoderConfig
from secateur.families.fused import Fusion

GPT2 = Decoder(
    config=DecoderConfig(
        model_type="gpt2",
        hidden_size="n_embd",
        num_layers="n_layer",
        num_queries="n_head",
        num_heads=None,
        ffn="n_inner",
        max_positions="n_positions",
        query_counts="filling",
        required={"add_cross_attention": False, "scale_attn_by_inverse_layer_idx": False, "scale_attn_weights": True},
    ),
    embeddings_path="wte",
    positions_path="wpe",
    layers_path="h",
    final_norm_path="ln_f",
    attention_path="attn",
    attention_norm_path="ln_1",
    ffn_norm_path="ln_2",
    query_path="c_attn.parts.0",
    key_path="c_attn.parts.1",
    value_path="c_attn.parts.2",
    output_path="c_proj.parts.0",
    up_paths=("c_fc.parts.0",),
    down_path="c_proj.parts.0",
    fusions=(Fusion("attn.c_attn", 3), Fusion("attn.c_proj"), Fusion("mlp.c_fc"), Fusion("mlp.c_proj")),
    num_heads_attribute="num_heads",
    split_size_attribute="split_size",
    norm_is_rms=False,
    query_bias=True,
    output_bias=True,
    ffn_bias=True,
)
