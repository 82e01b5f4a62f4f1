"""A fast tokenizer with fewer tokens: its JSON rewritten to new ids, nothing else changed."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from secateur.errors import ModelError

_KINDS = ("WordPiece", "BPE")


def describe(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return the JSON of a tokenizer.

    Raises:
        ModelError: it has none, or no model that vocabularies can be cut of.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(f"{type(tokenizer).__name__} has no tokenizer.json; a fast tokenizer would work")
    values: dict[str, Any] = json.loads(backend.to_str())
    kind = values["model"].get("type")
    if kind not in _KINDS:
        raise ModelError(f"the vocabulary of a tokenizer of type {kind} cannot be cut; {' and '.join(_KINDS)} can")
    return values


def merges_of(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the merges of a BPE tokenizer in the order of their rank; none for WordPiece."""
    merges = values["model"].get("merges") or []
    pairs = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in merges)
    return [(left, right) for left, right in pairs]


def fallback_bytes(values: Mapping[str, Any]) -> frozenset[str]:
    """Return the tokens that a BPE tokenizer writes characters outside its vocabulary with; none without that fallback.

    A character is one to four of them, so that all are needed for text to come out as it went in.
    """
    if not values["model"].get("byte_fallback"):
        return frozenset()
    return frozenset(f"<0x{byte:02X}>" for byte in range(256)).intersection(values["model"]["vocab"])


@dataclass(frozen=True)
class Marks:
    """What tokens carry besides their characters: ``##`` inside a word, or ``</w>`` at its end."""

    prefix: str
    suffix: str

    def bare(self, token: str) -> str:
        """Return the characters of a token."""
        return token.removeprefix(self.prefix).removesuffix(self.suffix)

    def letters(self, token: str) -> list[str]:
        """Return the pieces of one character that spell a token of WordPiece."""
        inside = token.startswith(self.prefix)
        return [self.prefix * (inside or place > 0) + letter for place, letter in enumerate(self.bare(token))]

    def joined(self, left: str, right: str) -> str:
        """Return what a merge of two tokens gives."""
        return left + right.removeprefix(self.prefix)


def marks_of(values: Mapping[str, Any]) -> Marks:
    """Return the marks of a tokenizer."""
    model = values["model"]
    return Marks(model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or "")


def with_fewer_tokens(tokenizer: PreTrainedTokenizerBase, new_ids: Mapping[str, int]) -> PreTrainedTokenizerFast:
    """Return a copy of the tokenizer that knows the tokens of ``new_ids`` only, under these ids.

    A merge stays when both its parts and its result do; ranks keep their order. Normalisation, splitting,
    truncation and padding stay; templates and added tokens get the new ids.

    Raises:
        ModelError: the ids cannot be had (an added token outside the vocabulary comes before one inside).
    """
    values = describe(tokenizer)
    model = values["model"]
    model["vocab"] = {
        token: new_ids[token] for token in sorted(new_ids, key=new_ids.__getitem__) if token in model["vocab"]
    }
    if "merges" in model:
        vocabulary, marks = model["vocab"], marks_of(values)
        model["merges"] = [
            [left, right]
            for left, right in merges_of(values)
            if left in vocabulary and right in vocabulary and marks.joined(left, right) in vocabulary
        ]
    values["added_tokens"] = [
        {**token, "id": new_ids[token["content"]]} for token in values["added_tokens"] if token["content"] in new_ids
    ]
    values["post_processor"] = _renumbered(values["post_processor"], new_ids)
    if values.get("padding"):
        values["padding"]["pad_id"] = new_ids[values["padding"]["pad_token"]]
    return _around(tokenizer, json.dumps(values), new_ids)


def _around(tokenizer: PreTrainedTokenizerBase, text: str, new_ids: Mapping[str, int]) -> PreTrainedTokenizerFast:
    backend = Tokenizer.from_str(text)
    wrong = next((token for token, number in new_ids.items() if backend.token_to_id(token) != number), None)
    if wrong is not None:
        raise ModelError(
            f"token {wrong!r} cannot have the id {new_ids[wrong]}, it has {backend.token_to_id(wrong)}; "
            "added tokens behind the vocabulary would work"
        )
    cut = copy.deepcopy(tokenizer)
    cut._tokenizer = backend
    cut.init_kwargs.pop("added_tokens_decoder", None)
    return cut


def _renumbered(processor: Any, new_ids: Mapping[str, int]) -> Any:
    """Return a post-processor with new ids: a template, BERT's or RoBERTa's own, or a sequence of them."""
    if processor is None:
        return None
    processor = dict(processor)
    if processor["type"] == "Sequence":
        processor["processors"] = [_renumbered(part, new_ids) for part in processor["processors"]]
    for name in ("sep", "cls"):
        if name in processor:
            processor[name] = [processor[name][0], new_ids[processor[name][0]]]
    if "special_tokens" in processor:
        processor["special_tokens"] = {
            name: {**entry, "ids": [_id_of(token, new_ids) for token in entry["tokens"]]}
            for name, entry in processor["special_tokens"].items()
        }
    return processor


def _id_of(token: str, new_ids: Mapping[str, int]) -> int:
    if token not in new_ids:
        raise ModelError(f"the tokenizer puts {token!r} into every row, so it must be kept")
    return new_ids[token]


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


def surface_pieces(values: Mapping[str, Any], tokens: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return what a tokenizer makes of the surface form of tokens that it does not know.

    WordPiece: longest match first, in the middle of a word for a token that continues one; BPE: its merges. The
    unknown token, if there is one, where nothing matches.

    Args:
        values: JSON of the tokenizer.
        tokens: tokens of another one.
    """
    model = values["model"]
    if model["type"] == "WordPiece":
        words = WordSpelling(model, ())
        return {token: words.of(token) for token in tokens}
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
