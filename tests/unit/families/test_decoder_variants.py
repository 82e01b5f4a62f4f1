"""Decoders whose config differs from what their family usually has."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from secateur.budget.cost import cost_of
from secateur.errors import ModelError
from secateur.families import family_of
from secateur.formats.padded import export_padded
from secateur.models.checkpoint import load, save
from secateur.models.hidden import cut_hidden_
from secateur.models.surgery import cut_, masked
from tests.tiny_models import logits_of, some_masks, spread, tiny_config

TOLERANCE = 2e-5
LONG = {
    "hidden_size": 64,
    "original_max_position_embeddings": 12,
    "partial_rotary_factor": 0.75,
    "rope_parameters": None,
    "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.1, 1.2], "long_factor": [2.0, 3.0, 4.0]},
}
VARIANTS = [
    pytest.param("llama", {"num_key_value_heads": 1, "head_dim": 16}, id="llama, one wide head"),
    pytest.param("phi3", LONG, id="phi3 of long texts"),
    pytest.param(
        "gpt_neox",
        {"use_parallel_residual": False, "attention_bias": False, "is_decoder": True},
        id="gpt_neox, in sequence",
    ),
    pytest.param("opt", {"enable_bias": False}, id="opt without biases"),
]


def variant(model_type: str, changes: dict[str, object]) -> PreTrainedModel:
    config = tiny_config(model_type)
    torch.manual_seed(0)
    return spread(AutoModelForCausalLM.from_config(type(config)(**{**config.to_dict(), **changes})))


@pytest.mark.parametrize(("model_type", "changes"), VARIANTS)
def test_a_variant_is_cut_saved_loaded_and_padded(model_type: str, changes: dict[str, object], tmp_path: Path) -> None:
    model = variant(model_type, changes)
    masks = some_masks(model)
    with masked(model, masks):
        expected = logits_of(model)
    cut_(model, masks)
    torch.testing.assert_close(logits_of(model), expected, rtol=0, atol=TOLERANCE)
    assert cost_of(model).params == sum(parameter.numel() for parameter in model.parameters())
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    assert torch.equal(logits_of(load(tmp_path / "model")), logits_of(model))
    export_padded(tmp_path / "model", tmp_path / "padded")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "padded").eval()
    torch.testing.assert_close(logits_of(plain), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("model_type", "key"), [("cohere", "use_qk_norm"), ("phi", "qk_layernorm")])
def test_norms_over_single_heads_are_refused(model_type: str, key: str) -> None:
    config = tiny_config(model_type)
    setattr(config, key, True)
    with pytest.raises(ModelError, match=f"{model_type} with {key}: True is not supported; {key}: False is"):
        family_of(config)


@pytest.mark.parametrize("key", ["do_layer_norm_before", "word_embed_proj_dim"])
def test_what_opt_350m_has_is_refused(key: str) -> None:
    config = tiny_config("opt")
    setattr(config, key, False if key == "do_layer_norm_before" else 16)
    with pytest.raises(ModelError, match=rf"opt with {key}: (False|16 beside a hidden size of 32) is not supported"):
        family_of(config)


def test_factors_of_long_texts_limit_what_is_read_and_what_is_cut(tmp_path: Path) -> None:
    """Two queries of 14 features have 7 each, too few for three factors at three quarters of them."""
    model = variant("phi3", LONG)
    assert family_of(model).max_tokens(model.config) == 12
    before = logits_of(model)
    with pytest.raises(ModelError, match=r"heads of 8 features, .* hidden size of 14; a multiple of 16 would"):
        cut_hidden_(model, torch.arange(64) < 14)
    assert torch.equal(logits_of(model), before)
    cut_hidden_(model, torch.arange(64) < 48)
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    assert torch.equal(logits_of(load(tmp_path / "model")), logits_of(model))
