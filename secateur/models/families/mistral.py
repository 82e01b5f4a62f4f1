"""Mistral (``model_type: mistral``). Any number of heads is accepted."""

from secateur.models.families.decoder import Decoder
from secateur.models.families.decoder_config import DecoderConfig

MISTRAL = Decoder(config=DecoderConfig(model_type="mistral"))
