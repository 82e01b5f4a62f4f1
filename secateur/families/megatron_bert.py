"""Megatron's BERT (``model_type: megatron-bert``), Chinese Erlangshen among it: norms in front of the blocks.

Transformers' forward pass counts heads by an attribute; the one here counts them by their features, as a graph with
other widths needs it.
"""

from dataclasses import replace
from typing import Any

from torch import Tensor

from secateur.families.bert import BERT


def attend(
    attention: Any, hidden_states: Tensor, attention_mask: Tensor | None = None, *_: Any, **__: Any
) -> tuple[Tensor, Tensor]:
    """Stand in for ``attention.forward``: (B, T, E) to (B, T, H*D), and the weights (B, H, T, T)."""
    shape = (*hidden_states.shape[:-1], -1, attention.attention_head_size)
    projections = (attention.query, attention.key, attention.value)
    query, key, value = (part(hidden_states).view(shape).transpose(1, 2) for part in projections)
    scores = query @ key.transpose(-1, -2) / attention.attention_head_size**0.5
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = attention.dropout(scores.softmax(dim=-1))
    context = (weights @ value).transpose(1, 2).contiguous().view(*hidden_states.shape[:-1], -1)
    return context, weights


MEGATRON_BERT = replace(
    BERT,
    model_type="megatron-bert",
    block_norm_paths=("attention.ln", "ln"),
    final_norm_path="encoder.ln",
    forward_with_heads=attend,
)
