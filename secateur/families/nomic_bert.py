"""NomicBERT (``model_type: nomic_bert``), nomic-embed-text among it: BERT, but rotary, gated and without biases.

What transformers itself builds; the code that repositories of the hub bring for it is not run. The config names the
features of a head, so heads need not fill the hidden size.
"""

from secateur.families.absent_heads import AbsentHeads
from secateur.families.linear_encoder import LinearEncoder

NOMIC_BERT = LinearEncoder(
    model_type="nomic_bert",
    embeddings_path="embeddings",
    layers_path="layers",
    attention_path="self_attn",
    query_path="self_attn.q_proj",
    key_path="self_attn.k_proj",
    value_path="self_attn.v_proj",
    output_path="self_attn.o_proj",
    up_paths=("mlp.gate_proj", "mlp.up_proj"),
    down_path="mlp.down_proj",
    num_heads_attribute=None,
    all_heads_attribute=None,
    head_paths=("{base}.pooler", "classifier"),
    hidden_size_key="hidden_size",
    num_layers_key="num_hidden_layers",
    num_heads_key="num_attention_heads",
    ffn_key="intermediate_size",
    forward_without_heads=AbsentHeads(
        projection_paths=("q_proj", "k_proj", "v_proj"),
        output_path="o_proj",
        norm_paths=None,
        layer_index_attribute="layer_idx",
        cache_argument="past_key_values",
    ),
    head_dim_attribute="head_dim",
    attention_bias=False,
    ffn_bias=False,
    names_head_dim=True,
)
