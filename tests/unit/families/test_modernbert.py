"""ModernBERT's windows, its first layer without a norm, and the variants of its config."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForSequenceClassification, ModernBertForMaskedLM, PreTrainedModel

from secateur.budget.cost import amount_of, cost_of
from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.fused import Fused
from secateur.families.structures import Masks
from secateur.formats.onnx import _beyond_windows
from secateur.formats.padded import export_padded
from secateur.models.checkpoint import load, load_base, save
from secateur.models.depth import drop_layers_
from secateur.models.hidden import cut_hidden_
from secateur.models.surgery import cut_, masked, widths_of
from tests.tiny_models import LABELS, logits_of, some_masks, tiny_config, tiny_model

VARIANTS = [
    {},
    {"layer_types": ["full_attention"] * 3},
    {"layer_types": ["sliding_attention"] * 3, "classifier_pooling": "mean"},
    {"norm_bias": True, "mlp_bias": True, "attention_bias": True, "classifier_bias": True},
]


def modernbert(changes: dict[str, Any], *, is_prepared: bool = True) -> PreTrainedModel:
    config = tiny_config("modernbert")
    config.update(changes)
    config.architectures = ["ModernBertForSequenceClassification"]
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="sdpa").eval()
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    if is_prepared:
        family_of(model).prepare_(model)
    return model


def long_rows(model: PreTrainedModel) -> torch.Tensor:
    """Rows of 30 tokens, where windows reach 3 to either side; padded left, right, and not."""
    ids = torch.randint(5, 60, (3, 30), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, :11] = mask[2, 9:] = 0
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=ids * mask, attention_mask=mask).logits
    return logits


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_variants_are_cut_as_they_are_masked_and_counted(changes: dict[str, Any], tmp_path: Path) -> None:
    theirs = long_rows(modernbert(changes, is_prepared=False))
    model = modernbert(changes)
    torch.testing.assert_close(long_rows(model), theirs, rtol=0, atol=1e-5)
    masks = some_masks(model)
    with masked(model, masks):
        expected = long_rows(model)
    cut_(model, masks)
    torch.testing.assert_close(long_rows(model), expected, rtol=0, atol=1e-5)
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    export_padded(tmp_path / "model", tmp_path / "padded")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "padded").eval()
    torch.testing.assert_close(long_rows(plain), expected, rtol=0, atol=1e-5)
    drop_layers_(model, [1, 2])
    cut_hidden_(model, torch.arange(32) < 24)
    model.set_attn_implementation("eager")
    model.requires_grad_(False)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(input_ids=torch.arange(5, 18)[None], attention_mask=torch.ones(1, 13))
    cost = cost_of(model, length=13)
    assert 2 * cost.macs == counter.get_total_flops()
    assert cost.nonembedding_params == amount_of(model.config, length=13).params


def test_a_window_is_not_what_all_layers_see() -> None:
    """A token far away changes nothing but through the layers that see it, also when layers are gone."""
    ids = torch.randint(5, 60, (2, 30), generator=torch.Generator().manual_seed(1))
    ids[1] = ids[0]
    ids[1, 29] = 4 + (ids[0, 29] - 4) % 50 + 1
    model = modernbert({"layer_types": ["sliding_attention", "sliding_attention", "full_attention"]})
    with torch.inference_mode():
        assert not torch.equal(*model(input_ids=ids).logits)
        drop_layers_(model, [0, 1])
        assert model.config.layer_types == ["sliding_attention"] * 2
        assert torch.equal(*model(input_ids=ids).logits)
        ids[1] = ids[0]
        ids[1, 6] = 4 + (ids[0, 6] - 4) % 50 + 1  # two windows of 3
        assert not torch.equal(*model(input_ids=ids).logits)


def test_an_export_is_compared_beyond_the_windows() -> None:
    config = tiny_config("modernbert")
    config.update({"local_attention": 12})
    config.architectures = ["ModernBertForSequenceClassification"]
    assert _beyond_windows(AutoModelForSequenceClassification.from_config(config)) == [(2, 15)]
    assert _beyond_windows(tiny_model("bert")) == []


def test_padding_on_the_left_is_padding() -> None:
    """Where texts are pooled over their tokens; a classifier of the first token reads that of the row."""
    model = modernbert({"classifier_pooling": "mean"})
    ids = torch.randint(5, 60, (1, 20), generator=torch.Generator().manual_seed(1))
    padded, mask = torch.zeros(1, 45, dtype=torch.int64), torch.zeros(1, 45, dtype=torch.int64)
    padded[:, 25:], mask[:, 25:] = ids, 1
    with torch.inference_mode():
        alone, behind = model(input_ids=ids).logits, model(input_ids=padded, attention_mask=mask).logits
    torch.testing.assert_close(behind, alone, rtol=0, atol=1e-4)


def test_a_layer_that_is_left_first_keeps_its_norm(tmp_path: Path) -> None:
    """Transformers builds none there, so its logits would be others."""
    model = modernbert({})
    drop_layers_(model, [1, 2])
    assert isinstance(model.base_model.layers[0].attn_norm, torch.nn.LayerNorm)
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    loaded = load(tmp_path / "model")
    assert torch.equal(long_rows(loaded), long_rows(model))
    drop_layers_(loaded, [0])
    save(loaded, None, tmp_path / "again", card={}, check_reload=False)
    assert torch.equal(long_rows(load(tmp_path / "again")), long_rows(loaded))
    model.save_pretrained(tmp_path / "theirs")
    assert torch.equal(long_rows(load(tmp_path / "theirs")), long_rows(model))
    with pytest.raises(ModelError, match="gives the first layer of modernbert no norm before its attention"):
        export_padded(tmp_path / "model", tmp_path / "padded")
    with pytest.raises(ModelError, match="is already pruned; a baseline starts from a dense model"):
        load_base(tmp_path / "model", labels=LABELS)


def test_without_the_first_norm_nothing_is_said() -> None:
    model = modernbert({})
    drop_layers_(model, [0, 2])
    assert "first_attention_norm" not in model.config.to_dict()
    assert model.config.layer_types == ["full_attention", "full_attention"]


def test_a_masked_language_model_as_published_is_a_base(tmp_path: Path) -> None:
    torch.manual_seed(0)
    published = ModernBertForMaskedLM(tiny_config("modernbert"))
    published.save_pretrained(tmp_path / "base")
    model = load_base(tmp_path / "base", labels=LABELS)
    assert isinstance(model.base_model.layers[0].attn.Wqkv, Fused)
    assert torch.equal(
        model.state_dict()["model.layers.1.attn.Wqkv.weight"], published.model.layers[1].attn.Wqkv.weight
    )
    assert torch.equal(model.head.dense.weight, published.head.dense.weight)
    model.save_pretrained(tmp_path / "plain")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "plain").eval()
    torch.testing.assert_close(logits_of(plain), logits_of(model), rtol=0, atol=1e-5)


def test_biases_may_be_given() -> None:
    model = modernbert({})
    expected = long_rows(model)
    family_of(model).add_biases_(model)
    assert model.config.attention_bias
    assert model.config.mlp_bias
    assert all(linear.bias is not None for layer in family_of(model).layers(model) for linear in layer.linears())
    assert torch.equal(long_rows(model), expected)
    assert "model.layers.0.attn.Wqkv.bias" in model.state_dict()


def test_layers_that_see_alike_are_called_alike() -> None:
    config = tiny_config("modernbert")
    family = family_of(config)
    assert [family.first_alike(config, index) for index in range(3)] == [0, 1, 0]
    assert family.window(config) == 3
    assert family.window(tiny_config("bert")) is None


def test_a_head_that_goes_takes_its_features_of_three() -> None:
    model = modernbert({})
    before = model.base_model.layers[1].attn.Wqkv.state_dict()["weight"]
    masks = Masks.ones(widths_of(model))
    masks.heads[1][2] = False
    cut_(model, masks)
    kept = torch.ones(96, dtype=torch.bool)
    for start in (16, 48, 80):
        kept[start : start + 8] = False
    assert torch.equal(model.base_model.layers[1].attn.Wqkv.state_dict()["weight"], before[kept])
