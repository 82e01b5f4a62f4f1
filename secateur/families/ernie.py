"""ERNIE (``model_type: ernie``), Chinese ERNIE 3.0 among it: BERT, with a type per task where the config says so.

Rows are of task type 0, as wherever nothing is said; the embedding of it is one of the embeddings.
"""

from dataclasses import replace

from secateur.families.bert import BERT

ERNIE = replace(BERT, model_type="ernie")
