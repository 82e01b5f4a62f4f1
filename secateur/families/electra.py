"""ELECTRA (``model_type: electra``): BERT's layers, a head like RoBERTa's without pooler.

The small model has narrower embeddings than layers, and a linear between them. That linear reads every token; it
stays as wide as it is, but for the features of the residual stream.
"""

from dataclasses import replace

from secateur.families.bert import BERT

ELECTRA = replace(
    BERT,
    model_type="electra",
    head_paths=("classifier",),
    embedding_size_key="embedding_size",
    entrance_path="embeddings_project",
)
