"""Texts as token ids: one text or the two of a pair to a row, cut at a length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from secateur.config.base import LongTexts
from secateur.data.windows import MAX_WINDOWS, Windows
from secateur.errors import DataError, ModelError
from secateur.readers.pairs import num_texts, texts_in

Integers = npt.NDArray[np.int64]

Item = TypeVar("Item")

_LONG_TEXTS, _MAX_WINDOWS = "long_texts", "max_windows"
"""Entries of tokenizer_config.json, which goes wherever the tokenizer goes. transformers keeps them and does not know
them: its own ``truncation_side`` cuts one end."""

_PAIRS_AT_ONCE = 64
"""A tokenizer keeps all combinations of what it has cut off two texts: of two long ones hundreds of rows."""


@dataclass(frozen=True)
class Encoded:
    """Rows of token ids, special ones included.

    Attributes:
        ids: of every row.
        cut: which rows lost tokens; a tokenizer that does not say is taken to have cut all that are full.
        second: where the second text of every pair begins; None where the tokenizer gives no token types that say so.
        windows: that rows are read in which are longer than a model reads: ``ids`` has them whole; None where they
            were cut.
    """

    ids: list[list[int]]
    cut: list[bool]
    second: list[int] | None = None
    windows: Windows | None = None


def encode(tokenizer: Any, texts: Sequence[str], *, max_length: int) -> Encoded:
    """Tokenise texts, without padding, each once.

    A text that is too long loses its end, or its middle where the tokenizer says so (``long_texts_of``), or stays whole
    to be read in windows. Of a pair the longer text is cut first, token by token from its end.

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
    if not are_pairs and (read := long_texts_of(tokenizer)) != "head":
        whole = [row for part in encoded_parts(tokenizer, texts, max_length=None) for row in part["input_ids"]]
        if read == "head_tail":
            return Encoded([head_and_tail(row, max_length) for row in whole], [len(row) > max_length for row in whole])
        windows = windows_of(tokenizer, max_length)
        return Encoded(whole, windows.unread(np.array([len(row) for row in whole])).tolist(), windows=windows)
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
        known = ", ".join(get_args(LongTexts))
        raise ModelError(f"the tokenizer says {_LONG_TEXTS}={said!r}; known here are {known}")
    return said


def max_windows_of(tokenizer: Any) -> int:
    """Return how many windows of a text are read, at most, where long texts are read in windows.

    Raises:
        ModelError: the tokenizer says something that is no such number.
    """
    said = getattr(tokenizer, "init_kwargs", {}).get(_MAX_WINDOWS, MAX_WINDOWS)
    if not isinstance(said, int) or isinstance(said, bool) or said < 2:
        raise ModelError(f"the tokenizer says {_MAX_WINDOWS}={said!r}; a whole number of 2 or more would work")
    return said


def windows_of(tokenizer: Any, max_length: int) -> Windows:
    """Return the windows that a tokenizer's long texts are read in; it says how many, at most.

    Raises:
        ModelError: there is no room for a text between the special tokens, or they stand elsewhere than at the ends.
    """
    special = [bool(flag) for flag in tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"]]
    if all(special):
        raise ModelError(f"the tokenizer ({type(tokenizer).__name__}) does not say which tokens are those of a text")
    before, after = special.index(False), special[::-1].index(False)
    if before + after != tokenizer.num_special_tokens_to_add(pair=False) or before + after >= max_length:
        found = f"{before} before a text and {after} behind it, of {tokenizer.num_special_tokens_to_add(pair=False)}"
        raise ModelError(f"windows of {max_length} tokens leave no room between the special ones: {found}")
    return Windows(max_length, before, after, most=max_windows_of(tokenizer))


def read_long_texts_(tokenizer: Any, asked: LongTexts, *, max_windows: int = MAX_WINDOWS) -> None:
    """Let a tokenizer, and whatever is saved or copied of it, cut or divide long texts in this way."""
    for name in (_LONG_TEXTS, _MAX_WINDOWS):
        tokenizer.init_kwargs.pop(name, None)
    if asked != "head":
        tokenizer.init_kwargs[_LONG_TEXTS] = asked
    if asked == "windows":
        tokenizer.init_kwargs[_MAX_WINDOWS] = max_windows


def said_of_long_texts(tokenizer: Any) -> dict[str, Any]:
    """Return what the card of a model says of long texts: nothing where their beginning is read.

    Raises:
        ModelError: the tokenizer says what nobody knows.
    """
    read = long_texts_of(tokenizer)
    said: dict[str, Any] = {} if read == "head" else {_LONG_TEXTS: read}
    return {**said, _MAX_WINDOWS: max_windows_of(tokenizer)} if read == "windows" else said


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
