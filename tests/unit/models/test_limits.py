"""What a checkpoint of somebody else can make this process do, by its config or its weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from secateur.errors import CheckpointError
from secateur.models import construction
from secateur.models.base_model import load_finished
from secateur.models.checkpoint import described, load, load_base, save
from tests.tiny_models import LABELS, tiny_model

ASKED: dict[str, tuple[dict[str, Any], str]] = {
    "layers": ({"num_hidden_layers": 10_000_000}, "num_hidden_layers asks for 10000000 layers"),
    "tokens": ({"vocab_size": 2**40}, "vocab_size asks for 1099511627776 tokens; configs of up to 8388608 are read"),
    "no end": ({"hidden_size": 10**300}, "hidden_size asks for 1000000"),
    "no name": ({"architectures": 1e308}, "architectures is '1e+308'; a list of names is read, or none"),
    "memory": ({"vocab_size": 2**23, "hidden_size": 2**17}, "asks for at least 2199 GB of weights; this machine has"),
    "a kernel": ({"_attn_implementation": "somebody/kernel"}, "names 'somebody/kernel', code from elsewhere"),
    "a kernel, wrapped": ({"attn_implementation": "paged|a/b@main:f"}, "code from elsewhere; nothing is fetched"),
    "inside": ({"text_config": {"experts_implementation": {"": "a/b"}}}, "experts_implementation names"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("case", ASKED)
def test_a_config_that_asks_for_too_much_is_refused_before_anything_is_built(
    folder: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, message = ASKED[case]
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    monkeypatch.setattr(construction.AutoConfig, "from_pretrained", lambda *_, **__: pytest.fail("it was believed"))
    for read in (load, load_base, described):
        with pytest.raises(CheckpointError) as caught:
            read(folder)
        assert message in str(caught.value) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("depth", [900, 100_000])
def test_a_config_that_is_too_deep_is_refused_in_a_line(folder: Path, depth: int) -> None:
    file = folder / "config.json"
    file.write_text(file.read_text().rstrip().removesuffix("}") + ', "a": ' + "[" * depth + "]" * depth + "}")
    with pytest.raises(CheckpointError, match=r"is not the config of a model|cannot be used: maximum recursion depth"):
        load(folder)


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_weights_that_are_no_numbers_are_refused_by_every_reader(folder: Path, tmp_path: Path, value: float) -> None:
    """One row of the embeddings: a token that no proof asks for."""
    model = tiny_model()
    with torch.no_grad():
        model.get_input_embeddings().weight[7, 0] = value
    save(model, None, tmp_path / "ours", card={}, check_reload=False)
    file = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(file)
    tensors["bert.embeddings.word_embeddings.weight"][7, 0] = value
    safetensors.torch.save_file(tensors, file, metadata={"format": "pt"})
    for broken, read in (
        (tmp_path / "ours", load),
        (tmp_path / "ours", load_finished),
        (folder, load),
        (folder, described),
        (folder, lambda path: load_base(path, labels=LABELS)),
    ):
        with pytest.raises(CheckpointError, match=r"word_embeddings\.weight holds NaN or infinity"):
            read(broken)
