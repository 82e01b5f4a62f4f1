"""DistilBERT (``model_type: distilbert``)."""

from secateur.models.families.linear_encoder import LinearEncoder

DISTILBERT = LinearEncoder(
    model_type="distilbert",
    embeddings_path="embeddings",
    layers_path="transformer.layer",
    attention_path="attention",
    query_path="attention.q_lin",
    key_path="attention.k_lin",
    value_path="attention.v_lin",
    output_path="attention.out_lin",
    up_path="ffn.lin1",
    down_path="ffn.lin2",
    num_heads_attribute="n_heads",
    all_heads_attribute=None,
    head_paths=("pre_classifier", "classifier"),
    hidden_size_key="dim",
    num_layers_key="n_layers",
    num_heads_key="n_heads",
    ffn_key="hidden_dim",
)
