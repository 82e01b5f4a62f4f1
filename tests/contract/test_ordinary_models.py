"""What users do with a loaded model, for every family: it is an ordinary transformers model, absent blocks included."""

import copy
import io
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from secateur.families.fused import Fused
from secateur.families.linears import convert_
from secateur.models.checkpoint import load, save
from secateur.models.surgery import cut_
from tests.tiny_models import CLASSIFIER_TYPES, logits_of, some_masks, tiny_model

pytestmark = pytest.mark.parametrize("model_type", CLASSIFIER_TYPES)


@pytest.fixture
def model(model_type: str, tmp_path: Path) -> PreTrainedModel:
    """A loaded checkpoint without heads in layer 0 and without neurons in layer 1."""
    cut = tiny_model(model_type)
    masks = some_masks(cut)
    masks.heads[0][:], masks.ffn[1][:] = False, False
    cut_(cut, masks)
    save(cut, None, tmp_path / "cut", card={}, check_reload=False)
    return load(tmp_path / "cut")


def test_it_is_pickled_by_torch(model: PreTrainedModel) -> None:
    """Users store whole models so; this program reads none."""
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    assert torch.equal(logits_of(torch.load(file, weights_only=False)), logits_of(model))


def test_a_copy_has_blocks_of_its_own(model: PreTrainedModel) -> None:
    expected, copied = logits_of(model), copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.data.zero_()
    assert torch.equal(logits_of(copied), expected)
    assert not torch.equal(logits_of(model), expected)


def test_it_gives_the_attention_of_layers_that_have_some(model: PreTrainedModel) -> None:
    model.set_attn_implementation("eager")
    found = model(input_ids=torch.arange(5, 14)[None], output_attentions=True, output_hidden_states=True)
    shapes = [tuple(layer.shape) for layer in found.attentions if layer is not None]
    assert len(shapes) in (2, 3)
    assert all(shape[-2:] == (9, 9) for shape in shapes)
    assert len(found.hidden_states) == 4


def test_it_is_quantised_by_torch(model: PreTrainedModel) -> None:
    quantised = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {nn.Linear}, dtype=torch.qint8)
    found = logits_of(quantised)
    assert found.isfinite().all()
    # Eight bits for weights and activations of three layers; an absent block that is quantised gives errors of the
    # size of the logits themselves, or no result at all.
    assert (found - logits_of(model)).abs().max() < 0.3 * logits_of(model).abs().max()


class _Adapted(nn.Module):
    """A linear with a low-rank addition, put together as peft does it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base
        self.down = nn.Linear(base.in_features, 2, bias=False)
        self.up = nn.Linear(2, base.out_features, bias=False)
        self.out_features = base.out_features

    @property
    def weight(self) -> nn.Parameter:
        return self.base_layer.weight

    @property
    def bias(self) -> nn.Parameter | None:
        return self.base_layer.bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.base_layer(inputs) + self.up(self.down(inputs))


def _adapted(model: PreTrainedModel) -> PreTrainedModel:
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and "base_layer" not in name:
            model.set_submodule(name, _Adapted(module))
    return model


def test_adapters_are_saved_with_what_they_adapt(model: PreTrainedModel) -> None:
    fresh = _adapted(copy.deepcopy(model))
    trained = _adapted(copy.deepcopy(model))
    for name, parameter in trained.named_parameters():
        if ".down." in name or ".up." in name:
            parameter.data.normal_()
    adapters = {name: value for name, value in trained.state_dict().items() if ".down." in name or ".up." in name}
    assert len(adapters) == sum(".down." in name or ".up." in name for name, _ in trained.named_parameters())
    assert not torch.equal(logits_of(fresh), logits_of(trained))
    missing, unexpected = fresh.load_state_dict(adapters, strict=False)
    assert not unexpected
    assert torch.equal(logits_of(fresh), logits_of(trained))
    whole = _adapted(copy.deepcopy(model))
    whole.load_state_dict(trained.state_dict())
    assert torch.equal(logits_of(whole), logits_of(trained))
    assert not [name for name in missing if ".down." in name or ".up." in name]
    fused = [module for module in model.modules() if isinstance(module, Fused)]
    assert all("parts.0'" in repr(module) for module in fused)


@pytest.mark.parametrize("options", [{}, {"max_shard_size": "8KB"}, {"variant": "fp16"}], ids=str)
def test_it_is_trained_further_and_saved_as_usual(model: PreTrainedModel, tmp_path: Path, options: dict) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    ids = torch.arange(5, 32).reshape(3, 9)
    model(input_ids=ids, labels=torch.tensor([0, 1, 2])).loss.backward()
    before = logits_of(model)
    optimizer.step()
    model.save_pretrained(tmp_path / "further", **options)
    # As Trainer reads what it resumes.
    assert PreTrainedConfig.from_json_file(tmp_path / "further/config.json").num_hidden_layers == 3
    assert not (tmp_path / "further/card.json").exists()
    loaded = load(tmp_path / "further")
    assert torch.equal(logits_of(loaded), logits_of(model))
    assert not torch.equal(logits_of(loaded), before)
    save(loaded, None, tmp_path / "ours", card={}, check_reload=False)
    assert torch.equal(logits_of(load(tmp_path / "ours")), logits_of(model))


def test_a_dense_one_of_anybody_loads_too(model_type: str, tmp_path: Path) -> None:
    dense = tiny_model(model_type)
    dense.save_pretrained(tmp_path / "dense", max_shard_size="16KB")
    assert len(list((tmp_path / "dense").glob("model-*.safetensors"))) > 1
    assert torch.equal(logits_of(load(tmp_path / "dense")), logits_of(dense))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_type_of_the_weights_stays(model: PreTrainedModel, tmp_path: Path, dtype: torch.dtype) -> None:
    convert_(model, dtype)
    model.save_pretrained(tmp_path / "small")
    loaded = load(tmp_path / "small")
    assert {parameter.dtype for parameter in loaded.parameters()} == {dtype}
    assert torch.equal(logits_of(loaded.float()), logits_of(model.float()))
