"""XLM-RoBERTa (``model_type: xlm-roberta``), multilingual MiniLM among it: RoBERTa's layers and head.

Two thirds of the base model are words of a hundred languages, so its vocabulary is what to cut first.
"""

from dataclasses import replace

from secateur.families.roberta import ROBERTA

XLM_ROBERTA = replace(ROBERTA, model_type="xlm-roberta")
