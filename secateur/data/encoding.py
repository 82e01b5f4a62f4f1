"""Texts as token ids: one text or the two of a pair to a row, cut at a length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from secateur.config.base import LongTexts
from secateur.errors import DataError, ModelError
from secateur.readers.pairs import num_texts, texts_in

Integers = npt.NDArray[np.int64]

Item = TypeVar("Item")

_LONG_TEXTS = "long_texts"
"""Entry of tokenizer_config.json, which goes wherever the tokenizer goes. transformers keeps it and does not know it:
its own ``truncation_side`` cuts one end."""

_PAIRS_AT_ONCE = 64
"""A tokenizer keeps all combinations of what it has cut off two texts: of two long ones hundreds of rows."""


@dataclass(frozen=True)
class Encoded:
    """Rows of token ids, special ones included.

    Attributes:
        ids: of every row.
        cut: which rows lost tokens; a tokenizer that does not say is taken to have cut all that are full.
        second: where the second text of every pair begins; None where the tokenizer gives no token types that say so.
    """

    ids: list[list[int]]
    cut: list[bool]
    second: list[int] | None = None


def encode(tokenizer: Any, texts: Sequence[str], *, max_length: int) -> Encoded:
    """Tokenise texts, without padding, each once.

    A text that is too long loses its end, or its middle where the tokenizer says so (``long_texts_of``). Of a pair the
    longer text is cut first, token by token from its end.

    Args:
        tokenizer: of transformers.
        texts: all of them pairs (``pairs``), or none.
        max_length: tokens of a row, special ones included.

    Raises:
        DataError: some are pairs and others are not.
        ModelError: the tokenizer puts nothing between two texts, or says of long ones what nobody knows.
    """
    ids: list[list[int]] = []
    cut: list[bool] = []
    second: list[int] = []
    are_pairs = num_texts(texts) == 2
    if not are_pairs and long_texts_of(tokenizer) == "head_tail":
        whole = [row for part in encoded_parts(tokenizer, texts, max_length=None) for row in part["input_ids"]]
        return Encoded([head_and_tail(row, max_length) for row in whole], [len(row) > max_length for row in whole])
    for part in encoded_parts(tokenizer, texts, max_length=max_length):
        ids += part["input_ids"]
        cut += _cut_rows(part, max_length=max_length)
        if are_pairs:
            second += [types.index(1) if 1 in types else len(types) for types in part.get("token_type_ids", ())]
    return Encoded(ids, cut, second or None)


def long_texts_of(tokenizer: Any) -> LongTexts:
    """Return what is read of texts that are too long; ``head`` where the tokenizer says nothing.

    Raises:
        ModelError: it says something else than is known here.
    """
    said: LongTexts = getattr(tokenizer, "init_kwargs", {}).get(_LONG_TEXTS, "head")
    if said not in get_args(LongTexts):
        known = " and ".join(get_args(LongTexts))
        raise ModelError(f"the tokenizer says {_LONG_TEXTS}={said!r}; {known} are known here")
    return said


def read_long_texts_(tokenizer: Any, asked: LongTexts) -> None:
    """Let a tokenizer, and whatever is saved or copied of it, cut long texts in this way."""
    tokenizer.init_kwargs.pop(_LONG_TEXTS, None)
    if asked != "head":
        tokenizer.init_kwargs[_LONG_TEXTS] = asked


def head_length(max_length: int) -> int:
    """Return how many tokens of a text that is too long stand before the gap: the special one, and a quarter.

    128 and 382 of the 510 tokens that BERT reads between its special ones did best on long reviews and articles (Sun
    et al. 2019, How to Fine-Tune BERT for Text Classification, section 5.3.1).
    """
    return 1 + round((max_length - 2) / 4)


def head_and_tail(row: Sequence[Item], max_length: int) -> list[Item]:
    """Return a row without its middle where it is longer than ``max_length``; both ends keep their special tokens."""
    head = head_length(max_length)
    return [*row] if len(row) <= max_length else [*row[:head], *row[len(row) - max_length + head :]]


def token_types(second: Integers, lengths: Integers, *, width: int) -> Integers:
    """Return 1 on the tokens of second texts and 0 elsewhere, (B, width).

    Args:
        second: where the second text of every row begins, (B,).
        lengths: tokens of every row, (B,); what is behind them is padding.
        width: tokens of the longest row.
    """
    places = np.arange(width)[None, :]
    return ((places >= second[:, None]) & (places < lengths[:, None])).astype(np.int64)


def encoded_parts(tokenizer: Any, texts: Sequence[str], *, max_length: int | None) -> Iterator[Any]:
    """Yield what the tokenizer returns for all texts, pairs few at a time; None cuts nothing.

    Raises:
        DataError, ModelError: as ``encode``.
    """
    asked: dict[str, Any] = {"return_attention_mask": False}
    asked |= {"verbose": False} if max_length is None else {"truncation": True, "max_length": max_length}
    count = num_texts(texts)
    if count == 1:
        yield tokenizer(list(texts), **asked)
        return
    require_pairs(tokenizer)
    if not count:
        raise DataError("some rows have two texts and others one; all must have as many")
    for start in range(0, len(texts), _PAIRS_AT_ONCE):
        pairs = [texts_in(text) for text in texts[start : start + _PAIRS_AT_ONCE]]
        yield tokenizer([first for first, _ in pairs], [second for _, second in pairs], **asked)


def require_pairs(tokenizer: Any) -> None:
    """Refuse a tokenizer that would run two texts into one.

    Raises:
        ModelError: naming what would work.
    """
    if tokenizer.num_special_tokens_to_add(pair=True) <= tokenizer.num_special_tokens_to_add(pair=False):
        raise ModelError(
            f"the tokenizer ({type(tokenizer).__name__}) puts nothing between two texts: a model could not tell them "
            "apart; that of a BERT, DistilBERT or RoBERTa does"
        )


def _cut_rows(encoded: Any, *, max_length: int) -> list[bool]:
    encodings = getattr(encoded, "encodings", None)
    if encodings:
        return [bool(encoding.overflowing) for encoding in encodings]
    return [len(ids) >= max_length for ids in encoded["input_ids"]]
