"""Gemma 3, text (``model_type: gemma3_text``).

What a block puts out passes another norm before it is added to the residual stream, so the stream cannot be rotated;
embeddings are multiplied by the root of the hidden size, so that cannot be cut. Like Llama's, the config refuses
numbers of queries that do not divide the hidden size.
"""

from secateur.families.decoder import Decoder
from secateur.families.decoder_config import DecoderConfig

GEMMA3 = Decoder(
    config=DecoderConfig(
        model_type="gemma3_text", query_counts="dividing", queries_per_layer=False, is_hidden_size_fixed=True
    ),
    ffn_norm_path="pre_feedforward_layernorm",
    output_norm_paths=("post_attention_layernorm", "post_feedforward_layernorm"),
    query_key_norm_paths=("q_norm", "k_norm"),
    query_bias="attention_bias",
    output_bias="attention_bias",
)
