"""``secateur.in_transformers``: ``from_pretrained`` of transformers reads pruned folders, where it cannot by itself."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.linears import convert_
from secateur.inference.device import find_device
from secateur.models import checkpoint
from secateur.models.construction import UNUSABLE
from secateur.models.folders import CONFIG
from secateur.models.pooling import is_pooled, states_again_

_METHOD = "from_pretrained"
_WITHOUT_EFFECT = (
    "_commit_hash", "_from_auto", "_from_pipeline", "adapter_kwargs", "adapter_name", "cache_dir", "disable_mmap",
    "force_download", "local_files_only", "low_cpu_mem_usage", "offload_buffers", "offload_folder", "proxies",
    "revision", "subfolder", "token", "tqdm_class", "trust_remote_code", "use_safetensors", "variant", "weights_only",
)  # fmt: skip
"""Options that change nothing of a local folder whose weights lie there in one form."""
_OF_A_READING = ("_name_or_path", "_commit_hash", "architectures", "dtype", "transformers_version")
"""What differs between two readings of the same config, and asks for nothing."""
_ATTENTION = "_attn_implementation_internal"
_NO_FINDINGS: Mapping[str, Any] = {"missing_keys": set(), "unexpected_keys": set(), "mismatched_keys": set()}


@contextmanager
def in_transformers() -> Iterator[None]:
    """Let ``from_pretrained`` of transformers read pruned folders with the widths that they were saved with.

    Whatever calls it meanwhile in this process gets what ``load`` gives: auto classes, ``pipeline``, ``AutoPeftModel``,
    test harnesses. No code lies in the folder, and none of it is run. All other models are read as before, and so are
    pruned ones that are plain (layers of equal widths). It is for programs that know transformers alone and cannot be
    told to call ``load``; afterwards transformers is what it was.

    Inside, ``from_pretrained`` of a pruned folder raises:

    Raises:
        ModelError: another head was asked for than was saved, or an option that needs plain layers (quantisation while
            it loads, several devices); the message says what would work.
        CheckpointError: as ``load`` does.
    """
    plain = PreTrainedModel.__dict__[_METHOD]

    def read(cls: type[PreTrainedModel], name: Any, *more: Any, **given: Any) -> Any:
        found = _pruned(name, given)
        return plain.__func__(cls, name, *more, **given) if found is None else _read(cls, *found, given)

    setattr(PreTrainedModel, _METHOD, classmethod(read))
    try:
        yield
    finally:
        setattr(PreTrainedModel, _METHOD, plain)


def _pruned(name: Any, given: Mapping[str, Any]) -> tuple[Path, PreTrainedConfig] | None:
    """Return folder and config of a model that plain transformers cannot build; None of all others."""
    folder = Path(str(name), str(given.get("subfolder") or ""))
    if not (folder / CONFIG).is_file():
        return None
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return None if family_of(config).is_dense(config) else (folder, config)
    except (*UNUSABLE, ModelError):
        return None  # transformers says why, or knows it


def _read(cls: type[PreTrainedModel], folder: Path, stored: PreTrainedConfig, given: Mapping[str, Any]) -> Any:
    options = {name: value for name, value in given.items() if name not in _WITHOUT_EFFECT and value is not None}
    wanted = _differences(options.pop("config", None), stored)
    tells, device = options.pop("output_loading_info", False), options.pop("device_map", None)
    dtype = options.pop("dtype", options.pop("torch_dtype", "auto"))
    attention = options.pop("attn_implementation", wanted.pop(_ATTENTION, None))
    wanted |= {name: options.pop(name) for name in list(options) if name in vars(stored)}
    for option, value in options.items():
        if value is not False:
            raise ModelError(
                f"{folder} is pruned, and {option}={str(value)[:80]!r} needs layers as transformers builds them; it "
                "would load without, and what `secateur export --to padded` writes loads with it"
            )
    model = _as_asked(checkpoint.load(folder), cls, folder)
    if "id2label" in wanted and len(wanted["id2label"]) != model.config.num_labels:
        labels = len(wanted["id2label"])
        raise ModelError(f"{folder} has {model.config.num_labels} labels, asked for {labels}; as many would work")
    for name, value in wanted.items():
        setattr(model.config, name, value)
    if dtype != "auto":
        convert_(model, getattr(torch, dtype) if isinstance(dtype, str) else dtype)
        model.config.dtype = model.dtype
    if attention is not None:
        model.set_attn_implementation(attention)
    if device is not None:
        model.to(_one_device(device, folder))
    return (model, dict(_NO_FINDINGS)) if tells else model


def _differences(asked: Any, stored: PreTrainedConfig) -> dict[str, Any]:
    """Return what a config says otherwise than that of the folder: options that an auto class has put there."""
    if not isinstance(asked, PreTrainedConfig):
        return {}
    before = vars(stored)
    return {
        name: value for name, value in vars(asked).items() if name not in _OF_A_READING and value != before.get(name)
    }


def _as_asked(model: PreTrainedModel, cls: type[PreTrainedModel], folder: Path) -> PreTrainedModel:
    """Return the model, or what lies below its head.

    Raises:
        ModelError: neither is of the class that was asked for.
    """
    found = model if isinstance(model, cls) else model.base_model
    if not isinstance(found, cls):
        raise ModelError(
            f"{folder} holds a {type(model).__name__}, asked for a {cls.__name__}; {type(model).__name__} and "
            f"{type(model.base_model).__name__} would work"
        )
    if is_pooled(found):
        states_again_(found)
    return found


def _one_device(asked: Any, folder: Path) -> torch.device:
    """Return the device that a ``device_map`` comes to.

    Raises:
        ModelError: it spreads the layers over several.
    """
    devices = set(asked.values()) if isinstance(asked, Mapping) else {asked}
    if len(devices) != 1 or devices & {"disk", "balanced", "balanced_low_0", "sequential"}:
        raise ModelError(f"{folder} is pruned, and is put on one device; device_map={asked!r} spreads it")
    device = devices.pop()
    return find_device("auto") if device == "auto" else torch.device(device)
