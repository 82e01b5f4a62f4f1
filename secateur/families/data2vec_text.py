"""Data2Vec for texts (``model_type: data2vec-text``): RoBERTa's layers and head."""

from dataclasses import replace

from secateur.families.roberta import ROBERTA

DATA2VEC_TEXT = replace(ROBERTA, model_type="data2vec-text")
