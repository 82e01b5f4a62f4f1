"""The pretrained model a baseline starts from: finding it, and copying only its safe files."""

import json
import shutil
import tempfile
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from secateur.config.baseline import SCRATCH_PREFIX
from secateur.errors import DataError, ModelError
from secateur.files import sha256_file
from secateur.sources.locations import Location, locate

_ASKED_BY = "baseline.model"
_CONFIG = "config.json"
_WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
)


def check_model(model: str, *, root: Path | None = None) -> Path | None:
    """Check that a model can be copied, without reading its weights and without the network.

    Returns:
        The config file; None for a model that is still on a hub.

    Raises:
        ModelError: there is no such model, or it has no config or no safetensors weights.
    """
    location = _find(model, root=root)
    if location.path is None:
        return None
    return _files(location, scratch=model.startswith(SCRATCH_PREFIX))[_CONFIG]


def model_type_of(config: Path) -> str:
    """Return the ``model_type`` of a config file; nothing where it cannot be read, as whoever builds from it says."""
    with suppress(OSError, ValueError, AttributeError):
        return str(json.loads(config.read_text(encoding="utf-8")).get("model_type"))
    return ""


def copy_model(model: str, *, revision: str | None, out: Path, at: Path | None = None) -> dict[str, Any]:
    """Copy the config, safetensors weights and tokenizer of a model into the folder ``out``.

    ``at`` is where a local model is, when that is known. ``scratch:FILE`` copies the config and the tokenizer
    files that stand beside it, and no weights.

    Returns:
        The provenance record: kind, source, package or hub commit, licence, and the sha256 of every file.

    Raises:
        ModelError: as ``check_model``; or the hub does not give the model out.
    """
    location = _find(model, at=at)
    scratch = model.startswith(SCRATCH_PREFIX)
    with tempfile.TemporaryDirectory() as temporary:
        if location.path is None:
            location, origin = _download(location, revision=revision, into=Path(temporary))
        else:
            origin = location.origin
        out.mkdir(parents=True, exist_ok=True)
        copied: dict[str, str] = {}
        for name, path in _files(location, scratch=scratch).items():
            shutil.copyfile(path, out / name)
            copied[name] = sha256_file(out / name)
    kind = "scratch" if scratch else location.kind
    return {"kind": kind, "source": location.name, **origin, "files": copied}


def _find(model: str, *, root: Path | None = None, at: Path | None = None) -> Location:
    try:
        location = locate(model.removeprefix(SCRATCH_PREFIX), asked_by=_ASKED_BY, root=root, at=at)
    except DataError as error:
        raise ModelError(str(error)) from error
    if location.path is None and model.startswith(SCRATCH_PREFIX):
        raise ModelError(f"{_ASKED_BY}: there is no file {location.name!r}; scratch: wants the path of a config.json")
    return location


def _download(location: Location, *, revision: str | None, into: Path) -> tuple[Location, dict[str, Any]]:
    from secateur.sources.hub import download_model

    patterns = [_CONFIG, *_WEIGHTS, *_TOKENIZER, "pytorch_model*.bin.index.json"]
    try:
        commit = download_model(location.name, revision=revision, patterns=patterns, out=into)
    except DataError as error:
        raise ModelError(str(error)) from error
    return Location("hub", location.name, into, {}), {"revision": commit}


def _files(location: Location, *, scratch: bool) -> dict[str, Path]:
    """Map the name that a file gets to where it is now."""
    path = location.path
    if path is None:
        raise ModelError(f"{_ASKED_BY}: {location.name!r} has not been downloaded")
    if scratch and path.is_file():
        folder, found = path.parent, {_CONFIG: path}
    else:
        folder, found = path, {_CONFIG: path / _CONFIG}
    if not folder.is_dir():
        raise ModelError(
            f"{_ASKED_BY}={location.name} is a file; it must be a folder with {_CONFIG} and model.safetensors"
        )
    if not found[_CONFIG].is_file():
        raise ModelError(f"{_ASKED_BY}={location.name} has no {_CONFIG}; it holds {_listing(folder)}")
    wanted = _TOKENIZER if scratch else _WEIGHTS + _TOKENIZER
    for candidate in sorted(folder.iterdir()):
        if candidate.is_file() and any(fnmatch(candidate.name, pattern) for pattern in wanted):
            found[candidate.name] = candidate
    if not scratch and not any(name.endswith(".safetensors") for name in found):
        raise ModelError(_no_weights(location, folder))
    return found


def _no_weights(location: Location, folder: Path) -> str:
    pickled = sorted(p.name for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pth"})
    if pickled or location.kind == "hub":
        held = pickled[0] if pickled else "other weights"
        return (
            f"{_ASKED_BY}={location.name} holds {held} and no safetensors; pickle can run code when it is loaded, so "
            "it is refused: `secateur convert FOLDER --out NEW` reads nothing but weights, and writes safetensors"
        )
    return f"{_ASKED_BY}={location.name} has no model.safetensors; it holds {_listing(folder)}"


def _listing(folder: Path) -> str:
    return ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
