"""Qwen 2 and 2.5 (``model_type: qwen2``): biases on query, key and value. Any number of heads is accepted."""

from secateur.families.decoder import Decoder
from secateur.families.decoder_config import DecoderConfig

QWEN2 = Decoder(config=DecoderConfig(model_type="qwen2"), query_bias=True)
