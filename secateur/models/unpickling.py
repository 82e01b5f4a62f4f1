"""Pickled weights -> safetensors, in a process of its own: ``python -I -B unpickling.py SOURCE TARGET ...``.

A pickle is a program. torch's ``weights_only`` runs none but what builds tensors; this process is the second wall: it
is given no secrets and no home, and no network where the kernel allows that. It imports nothing of this package, and
prints a line of JSON per file: ``{"names": [...]}``, or ``{"error": "..."}`` and no more.
"""

import ctypes
import json
import pickle
import resource
import sys
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
_INSIDE = ("state_dict", "model_state_dict")
"""Under which trainers keep the weights beside other things."""


def _without_network() -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NET)


def _weights_of(file: str) -> dict[str, Any]:
    import torch

    loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    if isinstance(loaded, Mapping):
        loaded = next((loaded[name] for name in _INSIDE if isinstance(loaded.get(name), Mapping)), loaded)
    if not isinstance(loaded, Mapping) or not loaded:
        raise ValueError("it holds no weights by name")
    others = [name for name, value in loaded.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise ValueError(f"{str(others[0])[:80]!r} is no tensor, so this is no file of weights alone")
    # Safetensors hold every tensor by itself, and whole: tied ones stand there twice, and transformers ties them again.
    seen: set[int] = set()
    found: dict[str, Any] = {}
    for name, tensor in loaded.items():
        start = tensor.untyped_storage().data_ptr()
        found[str(name)] = tensor.clone() if start in seen else tensor.contiguous()
        seen.add(start)
    return found


def main(source: str, target: str) -> dict[str, Any]:
    """Convert one file; nothing is written unless all of it can be."""
    from safetensors.torch import save_file

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        weights = _weights_of(source)
    except pickle.UnpicklingError as error:
        said = " ".join(str(error).split())
        named = said.partition("GLOBAL ")[2].split(" ")[0] or "something else"
        return {"error": f"it asks for {named[:80]}, and weights alone ask for nothing: this pickle could run code"}
    except (ValueError, RuntimeError, OSError, EOFError) as error:
        return {"error": " ".join(str(error).split())[:200]}
    save_file(weights, target, metadata={"format": "pt"})
    return {"names": sorted(weights)}


if __name__ == "__main__":
    _without_network()
    for pair in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        said = main(*pair)
        print(json.dumps(said))  # noqa: T201  its answer
        if "error" in said:
            break
