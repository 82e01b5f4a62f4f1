"""Texts as a model's encoder sees them, for the comparison of two data versions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from secateur.inference.encoding import Call, Encoder, answered
from secateur.models.card import Card
from secateur.models.checkpoint import load
from secateur.models.heads import head_of
from secateur.models.token_types import TYPES


@torch.no_grad()
def mean_pooled(checkpoint: Path, texts: Sequence[str], *, batch_size: int = 64) -> npt.NDArray[np.float64]:
    """Return the last hidden states, averaged over the tokens of each text, (N, E).

    Texts are cleaned as those of the training set were, and cut at the model's length or, as its tokenizer says, read
    in windows, of which the mean is taken.

    Args:
        checkpoint: a verified checkpoint folder.
        texts: N of them, at least one.
        batch_size: rows per forward pass, at most.
    """
    model, encoder = load(checkpoint), Encoder.of(checkpoint, Card.read(checkpoint))
    # A generator would put out its whole vocabulary for every token.
    asked = {"use_cache": False, "logits_to_keep": 1} if head_of(model).per_token else {}

    def means(call: Call) -> npt.NDArray[np.float64]:
        ids, mask = torch.from_numpy(call.ids), torch.from_numpy(call.mask)
        typed = {} if call.types is None else {TYPES: torch.from_numpy(call.types)}
        states = model(input_ids=ids, attention_mask=mask, output_hidden_states=True, **typed, **asked).hidden_states[
            -1
        ]
        weights = mask.unsqueeze(-1).float()
        found: npt.NDArray[np.float64] = ((states.float() * weights).sum(dim=1) / weights.sum(dim=1)).double().numpy()
        return found

    pooled: dict[int, npt.NDArray[np.float64]] = {}
    for said in answered(encoder.calls(texts, batch_size=batch_size), means):
        pooled.update(zip(said.places, said.values, strict=True))
    return np.stack([pooled[place] for place in range(len(texts))])
