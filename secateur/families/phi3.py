"""Phi 3 and 4 (``model_type: phi3``): queries, keys and values are one matrix, gate and up projection another.

Here they are linears. Any number of heads is accepted. Positions may turn a part of the features alone. Of frequencies
that change with the length of a text (``longrope``, Phi 3 with 128k and Phi 4 mini) those of short texts are used: a
model reads as many tokens as they are for. The config then checks how many there are against hidden size and queries.
"""

from secateur.families.decoder import Decoder
from secateur.families.decoder_config import DecoderConfig
from secateur.families.fused import Fusion

PHI3 = Decoder(
    config=DecoderConfig(model_type="phi3", queries_per_layer=False, checks_factors=True),
    query_path="qkv_proj.parts.0",
    key_path="qkv_proj.parts.1",
    value_path="qkv_proj.parts.2",
    up_paths=("gate_up_proj.parts.0", "gate_up_proj.parts.1"),
    fusions=(Fusion("self_attn.qkv_proj", 3, grouped=True), Fusion("mlp.gate_up_proj", 2)),
    key_heads_attribute="num_key_value_heads",
    asks_config=True,
)
