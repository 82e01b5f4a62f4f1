"""``card.json``: where a checkpoint comes from, and the digests that its files must have."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from secateur.errors import CheckpointError
from secateur.files import sha256_file, write_json

CARD = "card.json"


def write_card(path: Path, *, card: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> None:
    """Write the card of a folder whose other files are complete.

    Adds ``files`` (name -> sha256 of every other file) and ``weights_sha256`` (see ``digest_weights``).
    """
    files = {
        file.relative_to(path).as_posix(): sha256_file(file)
        for file in sorted(path.rglob("*"))
        if file.is_file() and file != path / CARD
    }
    write_json(path / CARD, {**card, "files": files, "weights_sha256": digest_weights(state)})


def read_card(path: str | Path) -> dict[str, Any]:
    """Return the content of a checkpoint's card.

    Raises:
        CheckpointError: the folder is no checkpoint, or its card cannot be read.
    """
    folder = Path(path)
    if not folder.exists():
        raise CheckpointError(f"{folder} does not exist; a checkpoint is a folder with {CARD}")
    if not (folder / CARD).is_file():
        hint = (
            "a plain Hugging Face folder is where a baseline starts (baseline.model)"
            if (folder / "config.json").is_file()
            else "a checkpoint is a folder written by a run"
        )
        raise CheckpointError(f"{folder} is not a checkpoint: it has no {CARD}; {hint}")
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{folder / CARD} is not JSON: {error}") from error
    if not isinstance(card, dict) or not isinstance(card.get("files"), dict):
        raise CheckpointError(f"{folder / CARD} names no files; write the checkpoint again")
    return card


def verify(path: str | Path) -> None:
    """Check every file that the card names against its digest.

    Raises:
        CheckpointError: naming the first file that is missing or differs.
    """
    folder = Path(path)
    for name, digest in sorted(read_card(folder)["files"].items()):
        file = folder / name
        if not file.is_file():
            raise CheckpointError(f"{file} is missing, {CARD} lists it; restore or rebuild the checkpoint")
        if sha256_file(file) != digest:
            raise CheckpointError(
                f"{file} differs from its digest in {CARD}: the file is damaged or was edited; "
                f"restore or rebuild the checkpoint, or, if you trained it further, take {CARD} away"
            )


def digest_weights(state: Mapping[str, torch.Tensor]) -> str:
    """Return the sha256 over sorted (name, dtype, shape, raw bytes): equal weights, equal digest.

    Unlike the digest of a file, it does not depend on the container's header.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
