"""Gemma 1 (``model_type: gemma``): layers of Llama whose gains are counted from one.

Embeddings are multiplied by the root of the hidden size, so that cannot be cut. Any number of heads is accepted.
"""

from secateur.families.decoder import Decoder
from secateur.families.decoder_config import DecoderConfig

GEMMA = Decoder(
    config=DecoderConfig(model_type="gemma", is_hidden_size_fixed=True),
    query_bias="attention_bias",
    output_bias="attention_bias",
)
