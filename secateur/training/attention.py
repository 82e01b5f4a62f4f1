"""Attention as matrix products, whose gradient is fast on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from secateur.config.run import Precision
from secateur.families import family_of
from secateur.inference.precision import resolve
from secateur.training.batches import Rows

PRODUCTS = "secateur_products"
"""Name under which transformers finds ``products``; it asks for the masks of torch's attention."""

_LONGEST = 256


def products(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Return ``softmax(q k^T * scaling + mask) v`` of a decoder, (B, T, H, D), and no weights.

    Args:
        module: the attention block; attention weights are dropped while it trains.
        query: (B, H, T, D).
        key: (B, K, T, D); the query heads of a group are neighbours.
        value: (B, K, T, D).
        attention_mask: True where a token may look, (B, 1, T, T); None for all tokens up to its own.
        scaling: of the scores; None for one over the root of D.
        dropout: of attention weights.
        softcap: not supported; no family of decoders here has one.

    Raises:
        ValueError: the model caps its scores.
    """
    if softcap is not None:
        raise ValueError("attention as matrix products does not cap scores")
    batch, heads, length, width = query.shape
    groups = key.shape[1]
    # Query heads of a group are rows of one product, so keys and values are not repeated.
    scaled = (query * (width**-0.5 if scaling is None else scaling)).reshape(batch, groups, -1, width)
    scores = (scaled @ key.transpose(-1, -2)).view(batch, groups, heads // groups, length, -1)
    if attention_mask is None:
        hidden = torch.ones(length, scores.shape[-1], dtype=torch.bool, device=query.device).triu(1)
    else:
        hidden = ~attention_mask.unsqueeze(2)
    weights = torch.softmax(scores.masked_fill_(hidden, torch.finfo(scores.dtype).min), dim=-1)
    weights = drop(weights, p=dropout, training=module.training).view(batch, groups, -1, scores.shape[-1])
    return (weights @ value).view(batch, heads, length, width).transpose(1, 2).contiguous(), None


AttentionInterface.register(PRODUCTS, products)
AttentionMaskInterface.register(PRODUCTS, sdpa_mask)


@contextmanager
def attention_as_products(model: PreTrainedModel, precision: Precision, *, rows: Rows) -> Iterator[None]:
    """Train a decoder on short rows with ``products`` for a while, all in bf16.

    On a CPU the gradient of torch's fused kernel is slow in bf16: forward and backward of 4 096 tokens with 8 heads of
    32 features take 134 ms of CPU time in blocks of 128, and 37 ms as products (96 and 33 ms in blocks of 64). Long
    rows stay fused, because the product of all pairs of tokens would be held in memory. Encoders drop attention
    weights, and so never use the fused kernel; nor do models that cap their scores (Gemma 2).
    """
    is_fused = family_of(model).generates and model.config._attn_implementation == "sdpa"
    is_short = is_fused and rows.longest <= _LONGEST
    if not is_short or resolve(precision, device=model.device) == "fp32" or model.device.type != "cpu":
        yield
        return
    before = model.config._attn_implementation
    model.set_attn_implementation(PRODUCTS)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
