"""Export of a static student for ``numpy_reader``: weights in int8, and its tokenizer as one table of characters."""

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save

from secateur.data.encoding import encode, head_length, long_texts_of
from secateur.errors import ModelError
from secateur.families.static import MODEL_TYPE
from secateur.files import replacing, write_bytes, write_json, write_text
from secateur.formats import numpy_reader
from secateur.kinds.registry import kind_of_config
from secateur.models.card import write_card
from secateur.models.checkpoint import described, load, load_tokenizer
from secateur.models.folders import WEIGHTS

_EXAMPLES = 256
_AT_ONCE, _BETWEEN = 256, "0000000"
_READ = ("BertNormalizer", "BertPreTokenizer", "WordPiece")
_OPTIONS = ("single_word", "lstrip", "rstrip", "normalized")
_SURROGATES = range(0xD800, 0xE000)


def export_numpy(checkpoint: Path, out: Path) -> Path:
    """Write a folder that ``reader.py`` in it answers from, with Python's own library and numpy.

    Token vectors are int8, each with a scale of its own. The ids of the reader are compared with those of the
    tokenizer, and its logits with those of the checkpoint, up to what int8 changes.

    Returns:
        The folder.

    Raises:
        CheckpointError: the checkpoint cannot be loaded.
        ModelError: it is no static student with one label per text, or its tokenizer is no WordPiece that reads
            character by character, or reads long texts in windows.
    """
    card, model = described(checkpoint), load(checkpoint, verify=False).float()
    if model.config.model_type != MODEL_TYPE:
        raise ModelError(f"numpy reads static students; this is a {model.config.model_type}: --to onnx exports it")
    kind = kind_of_config(model.config)
    if (card.num_texts or 1) != 1 or kind is None or kind.name != "classification":
        raise ModelError("numpy reads one text and tells one label; --to onnx exports all others")
    tokenizer = load_tokenizer(checkpoint)
    said = {"labels": [model.config.id2label[number] for number in range(model.config.num_labels)]}
    said |= _described(tokenizer, max_length=card.max_length or model.config.max_position_embeddings)
    with replacing(out) as folder:
        folder.mkdir()
        write_json(folder / "reader.json", {**said, "layer_norm_eps": model.config.layer_norm_eps})
        write_bytes(folder / WEIGHTS, save(_weights(model.state_dict())))
        write_text(folder / "reader.py", inspect.getsource(numpy_reader))
        write_card(folder, card.changed(runtime="numpy", source_weights_sha256=card.weights_sha256))
        _compare(numpy_reader.Reader(folder), model, tokenizer, max_length=int(str(said["max_length"])))
    return out


def _weights(state: dict[str, torch.Tensor]) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors of a student, the token vectors in int8 with a scale each."""
    tensors = {name: value.detach().numpy().astype(np.float32) for name, value in state.items()}
    vectors = tensors.pop("embeddings.weight")
    scales = np.maximum(np.abs(vectors).max(axis=1), np.finfo(np.float32).tiny) / np.float32(127.0)
    return {**tensors, "embeddings": np.rint(vectors / scales[:, None]).astype(np.int8), "scales": scales}


def _described(tokenizer: Any, *, max_length: int) -> dict[str, Any]:
    """Return what the reader has to know of a tokenizer.

    Raises:
        ModelError: it is none that the reader can follow.
    """
    said = json.loads(tokenizer.backend_tokenizer.to_str())
    model, read = said["model"], long_texts_of(tokenizer)
    parts = tuple((said[part] or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model"))
    strict = [token["content"] for token in said["added_tokens"] if any(map(token.get, _OPTIONS))]
    if parts != _READ or strict:
        found = " and ".join(map(str, parts)) + (f" with {strict[0]!r} as a token of its own kind" if strict else "")
        raise ModelError(f"numpy reads tokens as BERT does; this tokenizer is {found}: --to onnx exports it")
    if read == "windows":
        raise ModelError("numpy reads no windows of long texts; --to onnx exports models that do")
    mask = [bool(flag) for flag in tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"]]
    ids = tokenizer("a")["input_ids"]
    before, after = mask.index(False), mask[::-1].index(False)
    tokens = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    letters, runs = _characters(tokenizer.backend_tokenizer, alphabet={letter for token in tokens for letter in token})
    return {
        "tokens": tokens,
        "special": sorted((token["content"] for token in said["added_tokens"]), key=len, reverse=True),
        "unknown": tokenizer.unk_token_id,
        "link": model["continuing_subword_prefix"],
        "longest_word": model["max_input_chars_per_word"],
        "before": ids[:before],
        "after": ids[len(ids) - after :],
        "max_length": max_length,
        "head": head_length(max_length) if read == "head_tail" else max_length - after,
        "letters": letters,
        "runs": runs,
    }


def _characters(backend: Any, *, alphabet: set[str]) -> tuple[dict[str, str], list[list[Any]]]:
    """Return what a tokenizer makes of every character, as ``numpy_reader.Characters`` takes it.

    Letters that are in no token make a word unknown whatever becomes of them, so those are left out.
    """
    letters: dict[str, str] = {}
    runs: list[list[Any]] = []
    for letter, form in _forms(backend):
        general = form.replace(letter, "*") if letter not in "* " else form
        if general in ("", " ", " * "):
            if runs and runs[-1][1] == ord(letter) - 1 and runs[-1][2] == general:
                runs[-1][1] += 1
            else:
                runs.append([ord(letter), ord(letter), general])
        elif form != letter and (letter in alphabet or " " in form or set(form) <= alphabet):
            letters[letter] = form
    return letters, runs


def _forms(backend: Any) -> Iterator[tuple[str, str]]:
    """Yield every character with what stands for it between two letters, spaces where words part."""
    letters = [chr(code) for code in range(sys.maxunicode + 1) if code not in _SURROGATES]
    for start in range(0, len(letters), _AT_ONCE):
        some = letters[start : start + _AT_ONCE]
        text = f" {_BETWEEN} ".join(f"a{letter}a" for letter in some)
        words = backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
        found = " ".join(word for word, _ in words).split(f" {_BETWEEN} ")
        yield from ((letter, form[1:-1]) for letter, form in zip(some, found, strict=True))


def _compare(reader: numpy_reader.Reader, model: Any, tokenizer: Any, *, max_length: int) -> None:
    """Refuse a reader that reads other tokens, or says something else than int8 explains.

    Raises:
        ModelError: naming the text.
    """
    texts = list(_examples(tokenizer))
    expected = encode(tokenizer, texts, max_length=max_length).ids
    for text, ids in zip(texts, expected, strict=True):
        if reader.ids(text) != ids:
            raise ModelError(f"the reader takes {text!r} for other tokens than the tokenizer does; nothing was written")
    with torch.inference_mode():
        logits = [model(torch.tensor([ids])).logits[0].numpy() for ids in expected]
    found = np.array([reader.logits(text) for text in texts])
    spread = float(np.std(logits))
    if not float(np.sqrt(np.mean((found - np.array(logits)) ** 2))) <= 0.05 * spread:
        raise ModelError("the reader's logits differ from those of the checkpoint by more than int8 does")


def _examples(tokenizer: Any) -> Iterator[str]:
    """Yield texts of a tokenizer's own tokens, with what is rare between them: capitals, accents, other scripts."""
    draw = np.random.default_rng(0)
    tokens = sorted(tokenizer.get_vocab())
    rare = ["É", "ß", "Σ", "\u0301", "\u200b", "\t", "中文", "한글", "🙂", "…", "#", "a" * 101, "[MASK]", "İ", "ﬁ"]
    for number in range(_EXAMPLES):
        words = [tokens[place] for place in draw.integers(len(tokens), size=12)]
        words[number % 12] = rare[number % len(rare)] + words[number % 12].title()
        yield (" " if number % 2 else "").join(words)
