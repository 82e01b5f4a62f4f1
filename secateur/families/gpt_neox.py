"""GPT-NeoX and Pythia (``model_type: gpt_neox``): both blocks of a layer read the same stream.

Its config knows no ``head_dim``: heads fill the hidden size. The queries, keys and values of a head stand together in
one matrix; here they are linears. Positions turn the first features of a head; where padding gives heads more of them,
as many as before. How many heads a layer has stands under a name that the config's own check does not read.
"""

from secateur.families.decoder import Decoder
from secateur.families.decoder_config import DecoderConfig
from secateur.families.fused import Fusion

GPT_NEOX = Decoder(
    config=DecoderConfig(model_type="gpt_neox", query_counts="filling", queries_per_layer=False, checks_division=True),
    embeddings_path="embed_in",
    final_norm_path="final_layer_norm",
    attention_path="attention",
    query_path="query_key_value.parts.0",
    key_path="query_key_value.parts.1",
    value_path="query_key_value.parts.2",
    output_path="dense",
    up_paths=("dense_h_to_4h",),
    down_path="dense_4h_to_h",
    adds_plainly=False,
    fusions=(Fusion("attention.query_key_value", 3, interleaved=True),),
    head_dim_attribute="head_size",
    cache_argument="layer_past",
    norm_is_rms=False,
    query_bias="attention_bias",
    output_bias="attention_bias",
    ffn_bias=True,
)
