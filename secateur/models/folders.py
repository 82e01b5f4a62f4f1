"""What a model folder holds, whoever wrote it: a run of ours, ``save_pretrained``, or a trainer between two steps.

Only safetensors are read. Where a folder has a card, files that it does not list are not opened.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from secateur.errors import CheckpointError
from secateur.families.structures import HEAD_NUMBERS
from secateur.files import is_lfs_pointer
from secateur.models.card import CARD, Card, verify

CONFIG = "config.json"
WEIGHTS = "model.safetensors"

_INDEX = "model.safetensors.index.json"
_ADAPTER = "adapter_config.json"
PICKLED = "pytorch_model*.bin"
_FLOATS = ("F64", "F32", "F16", "BF16")
_WRAPPERS = {"module": "a model in DataParallel or the like", "_orig_mod": "a compiled model"}
_MASKS = (".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias")
_BUFFERS = ("position_ids", HEAD_NUMBERS, *_MASKS)
"""Buffers of whole numbers: layers that have lost heads hold the second; the others are in old folders (GPT-2's and
Pythia's on the hub), and computed."""

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "vocab.txt", "tokenizer.model", "sentencepiece.bpe.model", "spiece.model", "spm.model",
    "chat_template.jinja",
)  # fmt: skip
"""Names under which transformers saves a tokenizer."""


_PIECES = ("sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model")
_FIRST_BYTE = b"\n"
"""Of a sentencepiece model; other tokenizers are called ``tokenizer.model`` as well."""


def sentencepiece_alone(folder: Path) -> str | None:
    """Return the name of the sentencepiece model of a folder that has no ``tokenizer.json``, which needs no package."""
    if (folder / "tokenizer.json").is_file():
        return None
    found = (name for name in _PIECES if (folder / name).is_file())
    return next((name for name in found if (folder / name).read_bytes()[:1] == _FIRST_BYTE), None)


def require_model_folder(path: str | Path) -> Path:
    """Return the folder when it has the config of a model.

    Raises:
        CheckpointError: it does not, saying what it is instead.
    """
    folder = Path(path)
    wanted = f"a checkpoint is a folder with {CONFIG} and {WEIGHTS}"
    if not folder.exists():
        raise CheckpointError(f"{folder} does not exist; {wanted}")
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is a file; {wanted}")
    if (folder / _ADAPTER).is_file() and not (folder / CARD).is_file():
        raise CheckpointError(
            f"{folder} holds an adapter ({_ADAPTER}); merge it into its model first (peft: merge_and_unload, then "
            "save_pretrained) and name that folder"
        )
    # Where there is a card, it says what is missing.
    if not (folder / CONFIG).is_file() and not (folder / CARD).is_file():
        # Steps of a trainer, modules of sentence-transformers, or what the hub's cache keeps of a repository.
        inside = sorted(
            (file.parent for part in ("*", "snapshots/*") for file in folder.glob(f"{part}/{CONFIG}")), key=_step
        )
        hint = f"{inside[-1]} has one" if inside else wanted
        raise CheckpointError(f"{folder} holds no model: it has no {CONFIG}; {hint}")
    return folder


def _step(folder: Path) -> tuple[int, str]:
    """Order ``checkpoint-10`` behind ``checkpoint-9``."""
    number = folder.name.rpartition("-")[2]
    return (int(number) if number.isdecimal() else -1, folder.name)


def card_of(path: str | Path, *, verified: bool = False) -> Card:
    """Return the card of a folder whose files fit it; empty where somebody has saved a model without one.

    Args:
        path: the folder.
        verified: somebody compared the files with their digests already.

    Raises:
        CheckpointError: there is no such folder, or the first file that is missing or differs.
    """
    folder = require_model_folder(path)
    if not (folder / CARD).exists():
        return Card()
    if not verified:
        verify(folder)
    return Card.read(folder)


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the files that together hold the weights: one, or the shards that an index names.

    A folder with a single variant (``model.fp16.safetensors``) is read as that variant.

    Raises:
        CheckpointError: there are none, or several variants and nothing to choose by, or the index is damaged; or one
            was not fetched.
    """
    for name in (WEIGHTS, _INDEX):
        if (folder / name).is_symlink() and not (folder / name).exists():
            raise CheckpointError(f"{folder / name} is a link to a file that is not there; download it again")
    if (folder / WEIGHTS).is_file():
        files: tuple[Path, ...] = (folder / WEIGHTS,)
    elif (folder / _INDEX).is_file():
        files = shards(folder / _INDEX)
    else:
        files = _variant(folder)
    if pointers := [file for file in files if is_lfs_pointer(file)]:
        raise CheckpointError(f"{pointers[0]} is a pointer of Git LFS, not the weights; git lfs pull fetches them")
    if (folder / CARD).is_file() and (unlisted := {file.name for file in files} - Card.read(folder).files.keys()):
        raise CheckpointError(f"{folder / min(unlisted)} is not listed in {CARD}, and was not opened")
    return files


def variant_of(files: tuple[Path, ...]) -> str | None:
    """Return what transformers calls the variant of weight files: ``fp16`` of ``model.fp16.safetensors``."""
    middle = files[0].name.split("-")[0].removesuffix(".safetensors").removeprefix("model")
    return middle.removeprefix(".") or None


def stored_dtype(folder: Path) -> torch.dtype:
    """Return the type of the weights: that of most numbers, since some models keep their norms in another.

    Raises:
        CheckpointError: a file is damaged, or a tensor is of a type that weights to compute with do not have.
    """
    found: Counter[str] = Counter()
    for file in weight_files(folder):
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118  not a mapping
                    tensor = opened.get_slice(name)
                    kind = tensor.get_dtype()
                    if kind not in _FLOATS and not name.endswith(_BUFFERS):
                        raise CheckpointError(
                            f"{file}: {name} is of type {kind}; weights of {', '.join(_FLOATS)} can be read, so the "
                            "model before it was quantised would work"
                        )
                    if kind in _FLOATS:
                        found[kind] += math.prod(tensor.get_shape()) or 1
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} is damaged: {' '.join(str(error).split())[:300]}") from error
    if not found:
        raise CheckpointError(f"{folder} holds no weights: {weight_files(folder)[0].name} is empty")
    names = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    return names[found.most_common(1)[0][0]]


def wrapper_of(names: Iterable[str]) -> str:
    """Return what is to be said of tensors that were saved from a model inside another; nothing of others."""
    prefixes = {name.partition(".")[0] for name in names}
    if len(prefixes) != 1 or (prefix := prefixes.pop()) not in _WRAPPERS:
        return ""
    return f"; all names begin with {prefix}., those of {_WRAPPERS[prefix]}: save its {prefix} by save_pretrained"


def companions(folder: Path) -> list[str]:
    """Return the names of the files that belong to a model besides its weights: of a card, or as transformers does."""
    if (folder / CARD).is_file():
        weights = {file.name for file in weight_files(folder)} if not (folder / "model.onnx").is_file() else set()
        return sorted(Card.read(folder).files.keys() - weights)
    names = (CONFIG, "generation_config.json", *TOKENIZER_FILES)
    return sorted(name for name in names if (folder / name).is_file())


def shards(index: Path) -> tuple[Path, ...]:
    """Return the files that an index of weights names, all of them beside it.

    Raises:
        CheckpointError: it names none, or one that is not there.
    """
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index} is damaged: it names no weight files") from error
    if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise CheckpointError(f"{index} is damaged: weight files lie beside it, found {names}")
    files = tuple(index.parent / name for name in names)
    if missing := [file for file in files if not file.is_file()]:
        raise CheckpointError(f"{missing[0]} is missing, {index.name} names it ({len(missing)} missing)")
    return files


def _variant(folder: Path) -> tuple[Path, ...]:
    indexes = sorted(folder.glob("model.safetensors.index.*.json"))
    single = sorted(file for file in folder.glob("model.*.safetensors") if "-of-" not in file.name)
    if len(indexes) + len(single) == 1:
        return shards(indexes[0]) if indexes else (single[0],)
    if indexes or single:
        names = ", ".join(file.name for file in (*single, *indexes))
        raise CheckpointError(f"{folder} holds several variants ({names}); leave one, or name it {WEIGHTS}")
    unread = "pickled weights" if any(folder.glob(PICKLED)) else "other formats"
    remedy = f"`secateur convert {folder} --out NEW`" if unread == "pickled weights" else "save_pretrained"
    raise CheckpointError(f"{folder} has no {WEIGHTS} ({unread} are not read); {remedy} writes safetensors")


def check_weights_are_plain(file: Path, config: Mapping[str, Any]) -> None:
    """Refuse the config of a model whose weights are packed.

    Raises:
        CheckpointError: naming how they were.
    """
    packed = config.get("quantization_config")
    if packed:
        method = packed.get("quant_method", "some method") if isinstance(packed, Mapping) else packed
        raise CheckpointError(
            f"{file}: the weights are quantised ({method}); the model that they were made from would work"
        )
