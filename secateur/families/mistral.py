"""Mistral (``model_type: mistral``). Any number of heads is accepted."""

from secateur.families.decoder import Decoder
from secateur.families.decoder_config import DecoderConfig

MISTRAL = Decoder(config=DecoderConfig(model_type="mistral"))
