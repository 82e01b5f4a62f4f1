"""Granite 3 (``model_type: granite``): layers of Llama between factors.

Embeddings, scores, what a block adds and the logits are multiplied by numbers of the config that no width changes.
Any number of heads is accepted.
"""

from dataclasses import replace

from secateur.families.decoder_config import DecoderConfig
from secateur.families.llama import LLAMA

GRANITE = replace(LLAMA, config=DecoderConfig(model_type="granite"), adds_plainly=False)
