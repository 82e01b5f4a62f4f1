"""XLM-RoBERTa XL (``model_type: xlm-roberta-xl``): RoBERTa's layers and head, norms in front of the blocks."""

from dataclasses import replace

from secateur.families.roberta import ROBERTA

XLM_ROBERTA_XL = replace(
    ROBERTA,
    model_type="xlm-roberta-xl",
    block_norm_paths=("attention.self_attn_layer_norm", "LayerNorm"),
    final_norm_path="encoder.LayerNorm",
)
