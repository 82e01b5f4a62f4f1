"""Qwen 3 (``model_type: qwen3``): a norm over the features of every query and key. Any number of heads is accepted."""

from secateur.families.decoder import Decoder
from secateur.families.decoder_config import DecoderConfig

QWEN3 = Decoder(
    config=DecoderConfig(model_type="qwen3"),
    query_key_norm_paths=("q_norm", "k_norm"),
    query_bias="attention_bias",
    output_bias="attention_bias",
)
