"""``secateur convert``: pickled weights become safetensors, and a pickle that asks for more runs nothing."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from secateur import load
from secateur.errors import CheckpointError
from secateur.models.unpickling import main
from tests.integration.in_process import output, refused
from tests.tiny import write_bert
from tests.tiny_generators import write_generator


def _pickled(folder: Path, *, shards: int = 1) -> dict[str, Any]:
    """Turn the safetensors of a folder into what torch saved, and return its weights."""
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "card.json").unlink(missing_ok=True)
    names = sorted(weights)
    if shards == 1:
        torch.save(weights, folder / "pytorch_model.bin")
        return weights
    where = {name: f"pytorch_model-{1 + index % shards:05}-of-{shards:05}.bin" for index, name in enumerate(names)}
    for file in set(where.values()):
        torch.save({name: weights[name] for name in names if where[name] == file}, folder / file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return weights


@pytest.mark.parametrize("shards", [1, 2])
def test_a_converted_model_has_the_same_weights(tmp_path: Path, shards: int) -> None:
    weights = _pickled(write_bert(tmp_path / "old"), shards=shards)
    with pytest.raises(CheckpointError, match=r"`secateur convert .* writes safetensors"):
        load(tmp_path / "old")
    found = json.loads(output(tmp_path, "convert", "old", "--out", "new", "--json"))
    assert found["tensors"] == len(weights) and len(found["files"]) == shards
    state = load(tmp_path / "new").state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in weights.items() if name in state)
    assert (tmp_path / "new/tokenizer.json").is_file() and not list((tmp_path / "new").glob("*.bin"))


def test_tied_weights_of_a_generator_come_along(tmp_path: Path) -> None:
    model = load(write_generator(tmp_path / "old"))
    (tmp_path / "old/model.safetensors").unlink()
    (tmp_path / "old/card.json").unlink()
    torch.save(model.state_dict(), tmp_path / "old/pytorch_model.bin")
    output(tmp_path, "convert", "old", "--out", "new")
    ids = torch.arange(6)[None]
    assert torch.equal(load(tmp_path / "new")(ids).logits, model(ids).logits)


class _Program:
    """What a pickle may be: a call of anything."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def test_a_pickle_that_would_run_code_runs_none(tmp_path: Path) -> None:
    folder, trace = write_bert(tmp_path / "old"), tmp_path / "trace"
    weights = _pickled(folder)
    torch.save({**weights, "program": _Program(trace)}, folder / "pytorch_model.bin")
    said = str(refused(tmp_path, "convert", "old", "--out", "new"))
    assert "asks for posix.mkdir" in said and "\n" not in said
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Program(trace)))
    refused(tmp_path, "convert", "old", "--out", "new")
    assert not trace.exists() and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ""),
        (b"not a pickle at all", ""),
        ({"weights": [1.0, 2.0]}, "'weights' is no tensor"),
        ([torch.zeros(2)], "it holds no weights by name"),
    ],
)
def test_what_holds_no_weights_is_a_line(tmp_path: Path, content: Any, message: str) -> None:
    file = tmp_path / "pytorch_model.bin"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    said = main(str(file), str(tmp_path / "out"))["error"]
    assert message in said and "\n" not in said
    assert not (tmp_path / "out").exists()


def test_there_must_be_something_to_convert(tmp_path: Path) -> None:
    write_bert(tmp_path / "old")
    assert "has safetensors already" in str(refused(tmp_path, "convert", "old", "--out", "new"))
    (tmp_path / "old/model.safetensors").unlink()
    (tmp_path / "old/card.json").unlink(missing_ok=True)
    assert "found none" in str(refused(tmp_path, "convert", "old", "--out", "new"))
    (tmp_path / "old/pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "../x.bin"}}')
    assert "weight files lie beside it, found ['../x.bin']" in str(refused(tmp_path, "convert", "old", "--out", "new"))
