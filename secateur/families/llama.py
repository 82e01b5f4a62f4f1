"""Llama 1 to 3 (``model_type: llama``).

The check of its config refuses numbers of queries that do not divide the hidden size, even where ``head_dim`` is
given (3 of 64, say). Such widths stand in ``per_layer_config``, and are padded for plain transformers. A hidden size
must be a multiple of the queries of one head.
"""

from secateur.families.decoder import Decoder
from secateur.families.decoder_config import DecoderConfig

LLAMA = Decoder(
    config=DecoderConfig(model_type="llama", query_counts="dividing", queries_per_layer=False),
    query_bias="attention_bias",
    output_bias="attention_bias",
    ffn_bias="mlp_bias",
)
