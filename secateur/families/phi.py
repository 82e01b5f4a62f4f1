"""Phi 1, 1.5 and 2 (``model_type: phi``): both blocks of a layer read one norm, and the head has a bias.

Positions turn the first features of a head. Any number of heads is accepted.
"""

from secateur.families.decoder import Decoder
from secateur.families.decoder_config import DecoderConfig

PHI = Decoder(
    config=DecoderConfig(model_type="phi", required={"qk_layernorm": False}),
    final_norm_path="final_layernorm",
    ffn_norm_path="input_layernorm",
    output_path="dense",
    up_paths=("fc1",),
    down_path="fc2",
    adds_plainly=False,
    norm_is_rms=False,
    query_bias=True,
    output_bias=True,
    ffn_bias=True,
    head_bias=True,
)
