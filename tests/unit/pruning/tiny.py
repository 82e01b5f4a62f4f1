"""Tiny models and rows for the pruning and training tests."""

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from secateur.data.tokens import TokenRows, from_lists


def tiny_model(
    *, seed: int = 0, layers: int = 2, heads: int = 4, ffn: int = 24, num_labels: int = 3
) -> PreTrainedModel:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=ffn,
        max_position_embeddings=32,
        num_labels=num_labels,
        hidden_dropout_prob=0.1,
        initializer_range=0.2,  # large enough that attention is far from uniform
    )
    return BertForSequenceClassification(config).eval()


def tiny_rows(count: int = 48, *, seed: int = 0, num_labels: int = 3) -> TokenRows:
    """Rows whose label is decided by one of their tokens, so that they can be learned."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, num_labels, size=count)
    ids = [[2, *draw.integers(10, 40, size=draw.integers(2, 9)), 5 + label, 3] for label in labels]
    return from_lists(ids, labels=labels)
