"""CamemBERT (``model_type: camembert``): RoBERTa's layers and head."""

from dataclasses import replace

from secateur.families.roberta import ROBERTA

CAMEMBERT = replace(ROBERTA, model_type="camembert")
