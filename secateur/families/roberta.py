"""RoBERTa (``model_type: roberta``): BERT's layers, a head without pooler."""

from secateur.families.bert import attend_to_nothing
from secateur.families.linear_encoder import LinearEncoder

ROBERTA = LinearEncoder(
    model_type="roberta",
    embeddings_path="embeddings",
    layers_path="encoder.layer",
    attention_path="attention.self",
    query_path="attention.self.query",
    key_path="attention.self.key",
    value_path="attention.self.value",
    output_path="attention.output.dense",
    up_paths=("intermediate.dense",),
    down_path="output.dense",
    num_heads_attribute="num_attention_heads",
    all_heads_attribute="all_head_size",
    head_paths=("classifier",),
    hidden_size_key="hidden_size",
    num_layers_key="num_hidden_layers",
    num_heads_key="num_attention_heads",
    ffn_key="intermediate_size",
    forward_without_heads=attend_to_nothing,
    positions_follow_padding=True,
)
