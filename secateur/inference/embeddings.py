"""Texts as a model's encoder sees them, for the comparison of two data versions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from secateur.data.text_rules import TextRules, clean_texts
from secateur.models.card import Card
from secateur.models.checkpoint import load, load_tokenizer
from secateur.models.construction import read_config
from secateur.models.families import family_of
from secateur.models.heads import head_of


@torch.no_grad()
def mean_pooled(checkpoint: Path, texts: Sequence[str], *, batch_size: int = 64) -> npt.NDArray[np.float64]:
    """Return the last hidden states, averaged over the tokens of each text, (N, E).

    Texts are cleaned as those of the training set were, and cut at the model's length.

    Args:
        checkpoint: a verified checkpoint folder.
        texts: N of them, at least one.
        batch_size: rows per forward pass.
    """
    model, tokenizer = load(checkpoint), load_tokenizer(checkpoint)
    card, config = Card.read(checkpoint), read_config(checkpoint)
    rules = TextRules.of(card.text_rules)
    cleaned = clean_texts(texts, rules)[0] if rules else list(texts)
    limits = (card.max_length, tokenizer.model_max_length, family_of(config).max_tokens(config))
    max_length = min(limit for limit in limits if limit is not None)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # masked, so any token serves
    # A generator would put out its whole vocabulary for every token.
    asked = {"use_cache": False, "logits_to_keep": 1} if head_of(config).per_token else {}
    order = sorted(range(len(cleaned)), key=lambda index: len(cleaned[index]))
    pooled = np.zeros((len(cleaned), 0), np.float64)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = tokenizer(
            [cleaned[index] for index in chosen],
            truncation=True,
            max_length=max_length,
            padding=True,
            return_tensors="pt",
        )
        mask = batch["attention_mask"]
        outputs = model(input_ids=batch["input_ids"], attention_mask=mask, output_hidden_states=True, **asked)
        states = outputs.hidden_states[-1].float()
        weights = mask.unsqueeze(-1).float()
        means = ((states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)).double().numpy()
        if pooled.shape[1] == 0:
            pooled = np.zeros((len(cleaned), means.shape[1]), np.float64)
        pooled[chosen] = means
    return pooled
