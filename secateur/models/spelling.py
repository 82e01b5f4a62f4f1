"""Words of one vocabulary, spelled in a smaller one."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer

from secateur.models.tokenizer_json import marks_of

_SPACE = "▁"
"""What sentencepiece writes for a space, in front of a word."""


class WordSpelling:
    """Whole words of WordPiece ids, spelled in another vocabulary: longest match first."""

    def __init__(self, model: Mapping[str, Any], tokens: Sequence[str]) -> None:
        """Take the ``model`` section of the new tokenizer's JSON, and the token of every old id."""
        self._vocabulary: Mapping[str, int] = model["vocab"]
        self._prefix: str = model["continuing_subword_prefix"]
        self._unknown: int | None = self._vocabulary.get(model["unk_token"])
        self._tokens = tokens
        self._continues = [token.startswith(self._prefix) for token in tokens]
        self._known: dict[tuple[int, ...], tuple[int, ...]] = {}

    def split(self, ids: Sequence[int]) -> list[list[int]]:
        """Group the old ids of a row by word."""
        words: list[list[int]] = []
        for number in ids:
            if words and self._continues[number]:
                words[-1].append(number)
            else:
                words.append([number])
        return words

    def spell(self, word: tuple[int, ...]) -> tuple[int, ...]:
        """Return the new ids of a word of old ones; the unknown token where a part of it cannot be spelled."""
        if word not in self._known:
            first, *rest = (self._tokens[number] for number in word)
            self._known[word] = self.of(first + "".join(part.removeprefix(self._prefix) for part in rest))
        return self._known[word]

    def of(self, text: str) -> tuple[int, ...]:
        """Return the new ids of a surface form; one that starts with the prefix stands inside a word."""
        inside = text.startswith(self._prefix)
        rest, ids = text.removeprefix(self._prefix), list[int]()
        while rest:
            lead = self._prefix if inside else ""
            length = next((size for size in range(len(rest), 0, -1) if lead + rest[:size] in self._vocabulary), 0)
            if length == 0:
                return () if self._unknown is None else (self._unknown,)
            ids.append(self._vocabulary[lead + rest[:length]])
            rest, inside = rest[length:], True
        return tuple(ids)


class BestSpelling:
    """Whole words of Unigram ids, spelled in another vocabulary: the pieces whose scores add up to most."""

    def __init__(self, values: Mapping[str, Any], tokens: Sequence[str], *, apart: Collection[str]) -> None:
        """Take the JSON of the new tokenizer, the token of every old id, and those that are no part of a word."""
        self._model = Tokenizer.from_str(json.dumps(values)).model
        self._tokens = tokens
        self._apart = [token in apart for token in tokens]
        self._known: dict[tuple[int, ...], tuple[int, ...]] = {}

    def split(self, ids: Sequence[int]) -> list[list[int]]:
        """Group the old ids of a row by word."""
        words: list[list[int]] = []
        for number in ids:
            begins = self._apart[number] or self._tokens[number].startswith(_SPACE)
            if not words or begins or self._apart[words[-1][-1]]:
                words.append([number])
            else:
                words[-1].append(number)
        return words

    def spell(self, word: tuple[int, ...]) -> tuple[int, ...]:
        """Return the new ids of a word of old ones."""
        if word not in self._known:
            self._known[word] = self.of("".join(self._tokens[number] for number in word))
        return self._known[word]

    def of(self, text: str) -> tuple[int, ...]:
        """Return the new ids of a surface form."""
        return tuple(piece.id for piece in self._model.tokenize(text))


def surface_pieces(values: Mapping[str, Any], tokens: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return what a tokenizer makes of the surface form of tokens that it does not know.

    WordPiece: longest match first, in the middle of a word for a token that continues one; BPE: its merges; Unigram:
    the pieces of the largest score. The
    unknown token, if there is one, where nothing matches.

    Args:
        values: JSON of the tokenizer.
        tokens: tokens of another one.
    """
    model = values["model"]
    if model["type"] == "WordPiece":
        words = WordSpelling(model, ())
        return {token: words.of(token) for token in tokens}
    if model["type"] == "Unigram":
        best = BestSpelling(values, (), apart=())
        return {token: best.of(token) for token in tokens}
    unknown = model["vocab"].get(model.get("unk_token") or "")
    suffix = marks_of(values).suffix
    ending = Tokenizer.from_str(json.dumps(values)).model
    # Without the mark, what does not end a word is not given it.
    inside = Tokenizer.from_str(json.dumps({**values, "model": {**model, "end_of_word_suffix": None}})).model
    found = {
        token: tuple(
            piece.id for piece in (ending if token.endswith(suffix) else inside).tokenize(token.removesuffix(suffix))
        )
        for token in tokens
    }
    return {token: ids or (() if unknown is None else (unknown,)) for token, ids in found.items()}
