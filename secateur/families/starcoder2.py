"""StarCoder 2 (``model_type: starcoder2``): layers of Llama with ungated neurons and norms of GPT-2."""

from secateur.families.decoder import Decoder
from secateur.families.decoder_config import DecoderConfig

STARCODER2 = Decoder(
    config=DecoderConfig(model_type="starcoder2"),
    up_paths=("c_fc",),
    down_path="c_proj",
    norm_is_rms=False,
    query_bias="use_bias",
    output_bias="use_bias",
    ffn_bias="use_bias",
)
