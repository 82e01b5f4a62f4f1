"""The checkpoint folder: ``model.safetensors``, ``config.json``, tokenizer files, ``card.json``. No pickle.

Two saves of the same model give the same bytes: no times, no paths.
"""

import copy
import errno
import json
import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, GenerationConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from secateur.data.encoding import said_of_long_texts
from secateur.errors import CheckpointError
from secateur.families import family_of
from secateur.families.layer_count import forget_layers_
from secateur.files import is_lfs_pointer, write_json, write_text
from secateur.kinds.base import Kind
from secateur.kinds.registry import kind_named, kind_of_config
from secateur.models.base_model import load_base, load_finished
from secateur.models.card import CARD, Card, read_card, verify, write_card
from secateur.models.construction import build, read_config, read_tensors, tied_names
from secateur.models.folders import (
    CONFIG,
    TOKENIZER_FILES,
    WEIGHTS,
    card_of,
    require_model_folder,
    sentencepiece_alone,
)
from secateur.models.heads import VECTORS, head_of, pad_with_, require_finished
from secateur.models.pooling import longest, take_pooling_, write_modules
from secateur.models.reload_check import check_reload as run_reload_check
from secateur.models.token_types import TYPES, for_model_
from secateur.models.weights_digest import digest_weights

_GENERATION = "generation_config.json"
_VERSION = "transformers_version"
_WITHOUT_WORDS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja")
_NO_WORDS = "it has no tokenizer.json, which its tokenizer_config.json goes with; save_pretrained writes both"
_NO_BACKEND = "Couldn't instantiate the backend tokenizer"
"""What transformers says of a tokenizer whose file is missing; it goes on to name packages that would not help."""

__all__ = ["load", "load_base", "load_tokenizer", "read_card", "save", "verify"]


def save(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    path: str | Path,
    *,
    card: Card | Mapping[str, Any],
    check_reload: bool = True,
    beside: Callable[[Path], None] | None = None,
) -> None:
    """Write a checkpoint into a folder, then load it in a fresh process and compare the logits bit by bit.

    Args:
        model: a classifier or causal language model of a supported family, dense or cut. A tied matrix is saved once.
        tokenizer: saved beside it; None when there is none.
        path: an empty or missing folder; it may be a temporary one that is renamed afterwards.
        card: ``files`` and ``weights_sha256`` are added.
        check_reload: False leaves the fresh process out (5 s for the first, nearly all of it imports).
        beside: writes further files into the folder before the card takes the digests.

    Raises:
        CheckpointError: the folder is not empty, or what was written does not load to the same logits.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise CheckpointError(f"{folder} is not empty; a checkpoint is written into a new folder")
    tied = tied_names(model)
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items() if name not in tied
    }
    _write_weights(state, folder / WEIGHTS)
    write_text(folder / CONFIG, _config_json(model))
    if head_of(model).per_token and model.generation_config is not None:
        _save_generation(model.generation_config, folder)
    if tokenizer is not None:
        _save_tokenizer(tokenizer, folder)
    if head_of(_config_of(model)) is VECTORS:
        _save_modules(model, folder, limit=Card.of(card).max_length)
    if beside is not None:
        beside(folder)
    said = {} if tokenizer is None else said_of_long_texts(tokenizer)
    write_card(folder, Card.of(card).changed(weights_sha256=digest_weights(state), **said))
    if check_reload:
        run_reload_check(model, folder)


def load(path: str | Path, *, verify: bool = True) -> PreTrainedModel:
    """Load a checkpoint as an ordinary transformers model in eval mode, with its own widths.

    It is a causal language model, a classifier or an embedding model (whose ``logits`` are unit vectors), whichever was
    saved, in the type of its weights. A folder without a
    card is read as well: a model of ours that somebody trained further and saved, or a dense one of anybody.

    Args:
        path: the folder.
        verify: compare every file that the card lists with its digest first.

    Raises:
        CheckpointError: the folder is no checkpoint, a file differs from its digest (it is named), or
            weights and config do not fit.
        ModelError: the architecture or its head is not supported.
    """
    folder = require_model_folder(path)
    is_ours = (folder / CARD).exists()
    if is_ours and verify:
        _verify(folder)
    config = read_config(folder)
    require_finished(config, folder, by_card=is_ours)
    if config.pad_token_id is None and not is_ours:
        pad_with_(config, _padding_of(folder), folder)
    if head_of(config) is VECTORS:
        take_pooling_(config, folder)
    if not is_ours and family_of(config).is_dense(config):
        model = load_finished(folder)
        model.config.pad_token_id = config.pad_token_id
    else:
        model = build(config, read_tensors(folder))
    if (folder / _GENERATION).is_file() and (not is_ours or _GENERATION in Card.read(folder).files):
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    return model


def described(path: str | Path) -> Card:
    """Return the card of a folder whose files fit it; of a folder without one, what an export has to know.

    That is ``task``, ``labels`` of a classifier, ``max_length`` (tokens that the model can read) and
    ``weights_sha256``.

    Raises:
        CheckpointError, ModelError: as ``load`` does.
    """
    folder = require_model_folder(path)
    card = card_of(folder)
    if card.files:
        return card
    config = read_config(folder)
    kind, labels = kind_of_folder(folder, card), head_of(config).labels(config)
    facts = Card(task=kind.name, max_length=max_length_of(folder), weights_sha256=digest_weights(read_tensors(folder)))
    return facts.changed(labels=labels) if labels else facts


def max_length_of(folder: Path) -> int | None:
    """Return how many tokens the model of a folder can read, by its card, or by its config where there is none.

    Raises:
        CheckpointError, ModelError: the config cannot be read.
    """
    card = card_of(folder)
    if card.files:
        return card.max_length
    config = read_config(folder)
    return longest(folder, limit=family_of(config).max_tokens(config))


def kind_of_folder(folder: Path, card: Card) -> Kind:
    """Return the kind of task of a folder: by its card, or by its config where the card says nothing.

    Raises:
        ConfigError: the card names a kind that is not there.
        CheckpointError, ModelError: there is no config, or it is that of a model of no kind.
    """
    if card.task:
        return kind_named(card.task)
    config = read_config(folder)
    require_finished(config, folder)
    kind = kind_of_config(config)
    assert kind is not None  # another one was refused
    return kind


def load_tokenizer(path: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a checkpoint or of a base folder; nothing is downloaded.

    Raises:
        CheckpointError: the folder holds no tokenizer.
    """
    folder = Path(path)
    if not (folder / "tokenizer_config.json").is_file() and not (folder / "tokenizer.json").is_file():
        alone = next((name for name in TOKENIZER_FILES if (folder / name).is_file()), None)
        hint = "" if alone is None else f"; {alone} alone does not say how text is split, save_pretrained writes all"
        raise CheckpointError(f"{folder} holds no tokenizer: neither tokenizer.json nor tokenizer_config.json{hint}")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES if name not in _WITHOUT_WORDS):
        # transformers makes a tokenizer of no words of some, and every text is unknown tokens.
        raise CheckpointError(f"the tokenizer of {folder} cannot be loaded: {_NO_WORDS}")
    held = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if pointers := [file for file in held if is_lfs_pointer(file)]:
        raise CheckpointError(f"{pointers[0]} is a pointer of Git LFS, not a tokenizer; git lfs pull fetches it")
    pieces = sentencepiece_alone(folder)
    if pieces is not None and find_spec("sentencepiece") is None:
        raise CheckpointError(
            f"the tokenizer of {folder} is {pieces} without a tokenizer.json, which the package sentencepiece reads; "
            "after pip install sentencepiece it works"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        reason = " ".join(str(error).split())
        if pieces is None and reason.startswith(_NO_BACKEND):
            reason = _NO_WORDS
        raise CheckpointError(f"the tokenizer of {folder} cannot be loaded: {reason}") from error
    if TYPES in tokenizer.model_input_names and (folder / CONFIG).is_file():
        for_model_(tokenizer, read_config(folder))
    return tokenizer


def _padding_of(folder: Path) -> int | None:
    """Return what the tokenizer of a folder pads with; None where it has none."""
    try:
        token = load_tokenizer(folder).pad_token_id
    except CheckpointError:
        return None
    return None if token is None else int(token)


_verify = verify  # `load` has a parameter of that name


def _write_weights(state: Mapping[str, torch.Tensor], file: Path) -> None:
    try:
        # "format" is what plain from_pretrained asks for.
        safetensors.torch.save_file(dict(state), file, metadata={"format": "pt"})
    except SafetensorError as error:
        # Its text is all that is left of the error number.
        if f"os error {errno.ENOSPC}" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file)) from error
    # safetensors writes for the owner alone; the other files follow the umask.
    file.chmod(0o644)


def _save_generation(settings: GenerationConfig, folder: Path) -> None:
    """Write what ends a text, and the like; a version of a library is no property of that."""
    write_json(folder / _GENERATION, {key: value for key, value in settings.to_diff_dict().items() if key != _VERSION})


def _save_modules(model: PreTrainedModel, folder: Path, *, limit: int | None) -> None:
    """Write what sentence-transformers reads beside an embedding model."""
    family, config = family_of(model), model.config
    longest_row = family.max_tokens(config)
    write_modules(
        folder,
        config,
        max_length=min(longest_row, limit or longest_row),
        hidden_size=family.hidden_size(config),
        is_plain=family.is_dense(config),
    )


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    # How this process found the tokenizer is no property of it.
    for key in ("is_local", "local_files_only"):
        values.pop(key, None)
    write_json(file, values)


def _config_of(model: PreTrainedModel) -> PreTrainedConfig:
    """Return what is written: a classifier on top of an encoder is no encoder, whatever its config was read from."""
    config = copy.deepcopy(model.config)
    forget_layers_(config)
    config.architectures = [type(model).__name__]
    config.dtype = next(model.parameters()).dtype
    return config


def _config_json(model: PreTrainedModel) -> str:
    return str(_config_of(model).to_json_string(use_diff=True))
