"""Fewer rows of token embeddings: what encoders and decoders have in common."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedModel

_SPECIAL = "_token_id"


def keep_rows_(model: PreTrainedModel, rows: Sequence[int]) -> None:
    """Keep these rows of the token embeddings, in this order; the padding row follows."""
    embedding = cast("nn.Embedding", model.get_input_embeddings())
    index = torch.tensor(rows, device=embedding.weight.device)
    embedding.weight = nn.Parameter(embedding.weight.detach()[index])
    embedding.num_embeddings = len(rows)
    if embedding.padding_idx is not None:
        embedding.padding_idx = {old: new for new, old in enumerate(rows)}.get(embedding.padding_idx)


def renumber_special_ids_(config: object, new_ids: Mapping[int, int]) -> None:
    """Give the special ids of a config their new numbers; one that is gone becomes None."""
    for key, value in list(vars(config).items()):
        if not key.endswith(_SPECIAL):
            continue
        if isinstance(value, int):
            setattr(config, key, new_ids.get(value))
        elif isinstance(value, list):  # several tokens may end a text
            setattr(config, key, [new_ids[one] for one in value if one in new_ids] or None)
