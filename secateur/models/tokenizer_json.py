"""A fast tokenizer with fewer tokens: its JSON rewritten to new ids, nothing else changed."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from secateur.errors import ModelError

_KINDS = ("WordPiece", "BPE", "Unigram")


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
        raise ModelError(f"the vocabulary of a tokenizer of type {kind} cannot be cut; that of {', '.join(_KINDS)} can")
    return values


def ids_of(values: Mapping[str, Any]) -> Mapping[str, int]:
    """Return the id of every token of the model of a tokenizer; those that were added behind it are left out."""
    model = values["model"]
    if model["type"] == "Unigram":
        return {token: number for number, (token, _) in enumerate(model["vocab"])}
    ids: Mapping[str, int] = model["vocab"]
    return ids


def needed_by_scores(values: Mapping[str, Any]) -> frozenset[str]:
    """Return the tokens that the scores of a Unigram tokenizer rest on; none of other kinds.

    Those are the unknown token, and the one of the lowest score: an unknown character costs ten more than that, and
    with another price a text might be cut into other pieces, known ones among them.
    """
    model = values["model"]
    if model["type"] != "Unigram":
        return frozenset()
    vocabulary = model["vocab"]
    unknown = () if model["unk_id"] is None else (vocabulary[model["unk_id"]][0],)
    return frozenset((*unknown, min(vocabulary, key=lambda entry: entry[1])[0]))


def merges_of(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the merges of a BPE tokenizer in the order of their rank; none for WordPiece."""
    merges = values["model"].get("merges") or []
    pairs = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in merges)
    return [(left, right) for left, right in pairs]


def fallback_bytes(values: Mapping[str, Any]) -> frozenset[str]:
    """Return the tokens that characters outside the vocabulary are written with; none without that fallback.

    A character is one to four of them, so that all are needed for text to come out as it went in.
    """
    if not values["model"].get("byte_fallback"):
        return frozenset()
    return frozenset(f"<0x{byte:02X}>" for byte in range(256)).intersection(ids_of(values))


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
    if model["type"] == "Unigram":
        _keep_scores_(model, new_ids)
    else:
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


def _keep_scores_(model: dict[str, Any], new_ids: Mapping[str, int]) -> None:
    """Keep the tokens of a Unigram model with their scores; an id is a place in its list."""
    unknown = None if model["unk_id"] is None else model["vocab"][model["unk_id"]][0]
    model["vocab"] = [entry for entry in model["vocab"] if entry[0] in new_ids]
    model["unk_id"] = None if unknown is None else new_ids[unknown]


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
    if "unk_id" in cut.init_kwargs:
        cut.init_kwargs["unk_id"] = new_ids[str(tokenizer.unk_token)]
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
