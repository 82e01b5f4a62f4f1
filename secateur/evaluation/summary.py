"""What is inside a checkpoint, for people: layers, widths, sizes, vocabulary, card."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from secateur.budget.cost import cost_of
from secateur.families import family_of
from secateur.models.checkpoint import load
from secateur.models.folders import card_of
from secateur.models.heads import head_of
from secateur.models.surgery import widths_of


def describe(path: str | Path, *, length: int = 32) -> dict[str, Any]:
    """Describe a checkpoint in plain JSON values.

    Args:
        path: the folder.
        length: tokens per row, for the MACs.

    Returns:
        ``model_type``, ``labels`` (none of a language model), ``layers`` (one entry per layer: heads, ffn,
        dense_heads, dense_ffn), ``head_dim``, ``hidden_size``, ``vocab_size``, ``params``, ``nonembedding_params``,
        ``macs`` (with ``length``), ``bytes`` and ``card`` (empty where there is none).

    Raises:
        CheckpointError: the folder is no checkpoint, or damaged.
    """
    card = card_of(path)
    model = load(path, verify=False)
    family, widths = family_of(model), widths_of(model)
    dense = family.dense_widths(model.config)
    return {
        "model_type": family.model_type,
        "labels": head_of(model).labels(model.config),
        "layers": [
            {"heads": heads, "ffn": ffn, "dense_heads": dense_heads, "dense_ffn": dense_ffn}
            for heads, ffn, dense_heads, dense_ffn in zip(widths.heads, widths.ffn, dense.heads, dense.ffn, strict=True)
        ],
        "head_dim": widths.head_dim,
        "hidden_size": family.hidden_size(model.config),
        "vocab_size": model.config.vocab_size,
        "length": length,
        **asdict(cost_of(model, length=length)),
        "card": card.as_json(),
    }
