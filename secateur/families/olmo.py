"""OLMo 1 (``model_type: olmo``): layers of Llama whose norms take the mean off and have no weights.

Queries, keys and values may be clipped, each by itself. Any number of heads is accepted.
"""

from secateur.families.decoder import Decoder
from secateur.families.decoder_config import DecoderConfig

OLMO = Decoder(
    config=DecoderConfig(model_type="olmo"),
    norm_is_rms=False,
    norm_weights=0,
    query_bias="attention_bias",
    output_bias="attention_bias",
)
