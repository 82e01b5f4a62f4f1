"""The checkpoint folder: ``model.safetensors``, ``config.json``, tokenizer files, ``card.json``. No pickle.

Two saves of the same model give the same bytes: no times, no paths.
"""

import copy
import errno
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from secateur.errors import CheckpointError
from secateur.files import write_json, write_text
from secateur.models.base_model import load_base
from secateur.models.card import read_card, verify, write_card
from secateur.models.construction import CONFIG, WEIGHTS, build, read_config, read_tensors, tied_names
from secateur.models.families import is_generator
from secateur.models.reload_check import check_reload as run_reload_check

_GENERATION = "generation_config.json"
_VERSION = "transformers_version"

__all__ = ["load", "load_base", "load_tokenizer", "read_card", "save", "verify"]


def save(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    path: str | Path,
    *,
    card: Mapping[str, Any],
    check_reload: bool = True,
    beside: Callable[[Path], None] | None = None,
) -> None:
    """Write a checkpoint into a folder, then load it in a fresh process and compare the logits bit by bit.

    Args:
        model: a classifier or causal language model of a supported family, dense or cut. A tied matrix is saved once.
        tokenizer: saved beside it; None when there is none.
        path: an empty or missing folder; it may be a temporary one that is renamed afterwards.
        card: JSON values; ``files`` and ``weights_sha256`` are added.
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
    if is_generator(model) and model.generation_config is not None:
        _save_generation(model.generation_config, folder)
    if tokenizer is not None:
        _save_tokenizer(tokenizer, folder)
    if beside is not None:
        beside(folder)
    write_card(folder, card=card, state=state)
    if check_reload:
        run_reload_check(model, folder)


def load(path: str | Path, *, verify: bool = True) -> PreTrainedModel:
    """Load a checkpoint as an ordinary transformers model in eval mode, with its own widths.

    It is a causal language model or a classifier, whichever was saved.

    Args:
        path: the folder.
        verify: compare every file with its digest first.

    Raises:
        CheckpointError: the folder is no checkpoint, a file differs from its digest (it is named), or
            weights and config do not fit.
        ModelError: the architecture is not supported.
    """
    folder = Path(path)
    if verify:
        _verify(folder)
    else:
        read_card(folder)
    model = build(read_config(folder), read_tensors(folder))
    if (folder / _GENERATION).is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    return model


def load_tokenizer(path: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a checkpoint or of a base folder; nothing is downloaded.

    Raises:
        CheckpointError: the folder holds no tokenizer.
    """
    folder = Path(path)
    if not (folder / "tokenizer_config.json").is_file() and not (folder / "tokenizer.json").is_file():
        raise CheckpointError(f"{folder} holds no tokenizer: neither tokenizer.json nor tokenizer_config.json")
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"the tokenizer of {folder} cannot be loaded: {reason}") from error


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


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    # How this process found the tokenizer is no property of it.
    for key in ("is_local", "local_files_only"):
        values.pop(key, None)
    write_json(file, values)


def _config_json(model: PreTrainedModel) -> str:
    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    config.dtype = next(model.parameters()).dtype
    return str(config.to_json_string(use_diff=True))
