"""Folders whose weights are pickled -> the same with safetensors, which everything else here reads."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile

from secateur.errors import CheckpointError
from secateur.files import replacing, write_json
from secateur.models import unpickling
from secateur.models.folders import CONFIG, PICKLED, TOKENIZER_FILES, require_model_folder, shards

_INDEX = "pytorch_model.bin.index.json"
_BESIDE = (
    CONFIG, "generation_config.json", *TOKENIZER_FILES, "modules.json", "sentence_bert_config.json",
    "config_sentence_transformers.json", "1_Pooling/config.json",
)  # fmt: skip
"""What belongs to a model; the pooling of sentence-transformers is a file in a folder of its own."""

_KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
        files: of weights.
        tensors: in them.
        bytes: of the weights.
    """

    files: tuple[str, ...]
    tensors: int
    bytes: int


def convert(folder: Path, out: Path) -> Converted:
    """Write a model with safetensors beside its config and tokenizer; nothing is written unless all of it can be.

    The pickles are opened with torch's ``weights_only`` in a process without secrets, home and (where the kernel
    allows that) network.

    Raises:
        CheckpointError: there is nothing pickled to convert, or a file holds more than weights or is damaged.
    """
    require_model_folder(folder)
    if out.exists():
        raise CheckpointError(f"--out {out} exists already; name a new folder")
    sources = pickled_files(folder)
    with replacing(out) as made:
        made.mkdir()
        places = [f"-{number:05}-of-{len(sources):05}" for number in range(1, len(sources) + 1)]
        targets = [made / f"model{place}.safetensors" for place in (places if len(sources) > 1 else [""])]
        found = _unpickled(sources, targets)
        weight_map = {name: target.name for names, target in zip(found, targets, strict=True) for name in names}
        if len(sources) > 1:
            size = sum((made / name).stat().st_size for name in set(weight_map.values()))
            index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
            write_json(made / "model.safetensors.index.json", index)
        for name in _BESIDE:
            if (folder / name).is_file():
                (made / name).parent.mkdir(exist_ok=True)
                copyfile(folder / name, made / name)
    files = tuple(sorted(set(weight_map.values())))
    return Converted(files, len(weight_map), sum((out / name).stat().st_size for name in files))


def pickled_files(folder: Path) -> tuple[Path, ...]:
    """Return the pickled weights of a folder, its shards in order.

    Raises:
        CheckpointError: it has none, has safetensors already, or its index names files that are not there.
    """
    if any(folder.glob("*.safetensors")):
        raise CheckpointError(f"{folder} has safetensors already, which are read as they are; nothing to convert")
    if not (folder / _INDEX).is_file():
        found = sorted(folder.glob(PICKLED))
        if len(found) != 1:
            held = ", ".join(file.name for file in found) or "none"
            raise CheckpointError(f"{folder} must hold one {PICKLED}, or its shards with {_INDEX}; found {held}")
        return (found[0],)
    return shards(folder / _INDEX)


def _unpickled(sources: Sequence[Path], targets: Sequence[Path]) -> list[list[str]]:
    """Convert files in a process of their own; return the names of the tensors of each."""
    asked = [str(path.resolve()) for pair in zip(sources, targets, strict=True) for path in pair]
    with tempfile.TemporaryDirectory(prefix="secateur-") as empty:
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        done = subprocess.run(
            [sys.executable, "-I", "-B", unpickling.__file__, *asked],
            env={**environment, "HOME": empty, "TMPDIR": empty},
            cwd=empty,
            capture_output=True,
            text=True,
            check=False,
        )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    if said and "error" in said[-1]:
        raise CheckpointError(f"{sources[len(said) - 1]} is not converted: {said[-1]['error']}")
    if len(said) < len(sources):
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise CheckpointError(f"{sources[len(said)]} cannot be converted: {reason[:200]}")
    return [line["names"] for line in said]
