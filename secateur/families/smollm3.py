"""SmolLM 3 (``model_type: smollm3``): layers of Llama, some of which see no positions.

Which ones stands in the config, layer by layer. Any number of heads is accepted.
"""

from dataclasses import replace

from secateur.families.decoder_config import DecoderConfig
from secateur.families.llama import LLAMA

SMOLLM3 = replace(LLAMA, config=DecoderConfig(model_type="smollm3", of_layers=("layer_types", "no_rope_layers")))
