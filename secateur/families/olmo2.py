"""OLMo 2 (``model_type: olmo2``): norms behind the blocks, and over all queries and all keys of a layer.

What one head attends to depends on the root mean square of all of them, so no model without a head computes what the
model with that head silenced does. All heads of a layer are one here: they stay together or go together, which is
exact. Neurons, layers, features of the stream and tokens go as everywhere.
"""

from secateur.families.decoder import Decoder
from secateur.families.decoder_config import DecoderConfig

OLMO2 = Decoder(
    config=DecoderConfig(model_type="olmo2", heads_go_together=True),
    is_pre_norm=False,
    output_norm_paths=("post_attention_layernorm", "post_feedforward_layernorm"),
    query_key_norm_paths=("q_norm", "k_norm"),
    query_bias="attention_bias",
    output_bias="attention_bias",
)
