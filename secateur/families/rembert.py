"""RemBERT (``model_type: rembert``), of 110 languages: BERT's layers behind embeddings that are always narrower.

Nearly all of the base model are words, so its vocabulary is what to cut first.
"""

from dataclasses import replace

from secateur.families.bert import BERT
from secateur.families.megatron_bert import attend

REMBERT = replace(
    BERT,
    model_type="rembert",
    embedding_size_key="input_embedding_size",
    entrance_path="encoder.embedding_hidden_mapping_in",
    entrance_is_always=True,
    forward_with_heads=attend,
)
