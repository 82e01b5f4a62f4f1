"""RoBERTa with norms in front of its blocks (``model_type: roberta-prelayernorm``), as pretrained with fairseq."""

from dataclasses import replace

from secateur.families.roberta import ROBERTA

ROBERTA_PRELAYERNORM = replace(
    ROBERTA,
    model_type="roberta-prelayernorm",
    block_norm_paths=("attention.LayerNorm", "intermediate.LayerNorm"),
    final_norm_path="LayerNorm",
)
