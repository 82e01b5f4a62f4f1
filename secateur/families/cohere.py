"""Command R (``model_type: cohere``), but for R+, whose norms tell heads apart: both blocks of a layer read one norm.

It takes the mean off and has a gain alone. Logits are multiplied by a number of the config. Any number of heads is
accepted.
"""

from secateur.families.decoder import Decoder
from secateur.families.decoder_config import DecoderConfig

COHERE = Decoder(
    config=DecoderConfig(model_type="cohere", required={"use_qk_norm": False}),
    ffn_norm_path="input_layernorm",
    adds_plainly=False,
    norm_is_rms=False,
    norm_weights=1,
    query_bias="attention_bias",
    output_bias="attention_bias",
)
