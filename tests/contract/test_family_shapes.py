"""What holds for every model family when whole layers go, or features of the residual stream."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from secateur.budget.cost import amount_of, cost_of
from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.structures import Masks, Widths
from secateur.formats.padded import export_padded
from secateur.models.checkpoint import load, save
from secateur.models.depth import drop_layers_
from secateur.models.hidden import cut_hidden_
from secateur.models.surgery import cut_, widths_of
from tests.tiny_models import (
    CLASSIFIER_TYPES,
    MODEL_TYPES,
    QUERIES_PER_HEAD,
    heads_fill,
    is_hidden_size_fixed,
    logits_of,
    skip_fixed_hidden_size,
    some_masks,
    tiny_config,
    tiny_model,
)

# fp32 sums of 32 products in another order; logits are of order 1.
TOLERANCE = 1e-5
BLOCK_CLASSES = ("TransformerBlock", "GPT2Block")

pytestmark = pytest.mark.parametrize("model_type", CLASSIFIER_TYPES)


def is_layer(module: torch.nn.Module) -> bool:
    return type(module).__name__ in BLOCK_CLASSES or type(module).__name__.endswith("Layer")


def passed_by(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: Any) -> Any:
    return inputs[0] if isinstance(output, torch.Tensor) else (inputs[0], *output[1:])


def some_features(count: int, *, seed: int = 0) -> torch.Tensor:
    keep = torch.zeros(32, dtype=torch.bool)
    keep[torch.randperm(32, generator=torch.Generator().manual_seed(seed))[:count]] = True
    return keep


def saved_and_loaded(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    save(model, None, folder, card={}, check_reload=False)
    return load(folder)


def cut_everywhere(model_type: str, *, attention: str = "sdpa") -> PreTrainedModel:
    """Layer 1 of 3 is dropped, layer 0 has no heads and the last one no neurons; 26 of 32 features."""
    model = tiny_model(model_type, attention=attention)
    masks = some_masks(model)
    masks.heads[0][:] = False
    masks.ffn[2][:] = False
    cut_(model, masks)
    drop_layers_(model, [0, 2])
    cut_hidden_(model, some_features(26))
    return model


def test_dropping_layers_is_a_walk_through_fewer(model_type):
    """By hand: the output of the layer is replaced by its input."""
    model, by_hand = tiny_model(model_type), tiny_model(model_type)
    for target in (model, by_hand):
        cut_(target, some_masks(target))
    blocks = [module for module in by_hand.modules() if is_layer(module)]
    with ExitStack() as hooks:
        hooks.callback(blocks[1].register_forward_hook(passed_by).remove)
        expected = logits_of(by_hand)
    widths = widths_of(model)
    drop_layers_(model, [0, 2])
    assert torch.equal(logits_of(model), expected)
    assert widths_of(model) == widths.take([0, 2]) == family_of(model).widths(model.config)


def test_a_depth_only_checkpoint_is_an_ordinary_one(model_type, tmp_path: Path):
    model = tiny_model(model_type)
    drop_layers_(model, [0, 2])
    loaded = saved_and_loaded(model, tmp_path / "model")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    torch.testing.assert_close(logits_of(plain), logits_of(model), rtol=0, atol=TOLERANCE)
    assert torch.equal(logits_of(loaded), logits_of(model))
    assert family_of(plain).dense_widths(plain.config) == Widths(heads=(4, 4), ffn=(24, 24), head_dim=8)


def test_keeping_all_layers_changes_nothing(model_type):
    model = tiny_model(model_type)
    logits, config = logits_of(model), model.config.to_dict()
    drop_layers_(model, range(3))
    cut_hidden_(model, torch.ones(32, dtype=torch.bool))
    assert torch.equal(logits_of(model), logits)
    assert model.config.to_dict() == config


@pytest.mark.parametrize("keep", [[], [0, 3], [1, 0], [0, 0], [-1]])
def test_layers_that_are_not_there_are_named(model_type, keep):
    model = tiny_model(model_type)
    with pytest.raises(ModelError, match=r"asked to keep layers \[.*\], found 3; one or more of 0 to 2, ascending"):
        drop_layers_(model, keep)


def test_a_smaller_hidden_size_is_the_model_of_that_shape(model_type):
    """Transformers builds the reference, 24 = 3 heads of 8, and gets the same weights sliced by hand."""
    skip_fixed_hidden_size(model_type)
    model, keep = tiny_model(model_type), some_features(24)
    masks = Masks.ones(widths_of(model))
    for mask in masks.heads:
        mask[1] = False
    cut_(model, masks)
    sliced = {
        name: slice_by_hand(name, tensor, keep)
        for name, tensor in model.state_dict().items()
        if not name.endswith("head_numbers")  # the reference has no other heads
    }
    cut_hidden_(model, keep)
    config = family_of(model).uniform_config(tiny_config(model_type), heads=3, ffn=24)
    setattr(config, "dim" if model_type == "distilbert" else "hidden_size", 24)
    if model_type == "opt":
        config.word_embed_proj_dim = 24
    if model_type == "gpt_neox":
        config.rope_parameters = tiny_config(model_type).rope_parameters  # a head has its 8 features again
    if model_type == "deberta-v2":
        config.pooler_hidden_size = 24
    reference = AutoModelForSequenceClassification.from_config(config).eval()
    reference.load_state_dict(sliced)
    family_of(reference).prepare_(reference)
    assert torch.equal(logits_of(model), logits_of(reference))
    assert family_of(model).hidden_size(model.config) == 24
    assert widths_of(model).head_dim == 8


def slice_by_hand(name: str, tensor: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """Only the residual stream and the head are 32 wide here: 3 heads of 8 are 24, and so are the neurons."""
    if "relative_attention_bias" in name:
        return tensor[:, [0, 2, 3]]
    if tensor.dim() == 1:
        return tensor[keep] if len(tensor) == 32 else tensor
    if tensor.shape[0] == 32 and "embeddings." not in name:
        tensor = tensor[keep]
    return tensor[:, keep] if tensor.shape[1] == 32 else tensor


@pytest.mark.parametrize("num_features", [26, 16])
@pytest.mark.parametrize("narrow", [False, True])
def test_a_hidden_size_saves_and_loads(model_type, num_features, narrow, tmp_path: Path):
    """26 is no multiple of 4 heads; 16 is, and a head still has 8 features."""
    skip_fixed_hidden_size(model_type)
    model = tiny_model(model_type)
    if narrow:
        cut_(model, some_masks(model))
    widths = widths_of(model)
    cut_hidden_(model, some_features(num_features))
    loaded = saved_and_loaded(model, tmp_path / "model")
    assert torch.equal(logits_of(loaded), logits_of(model))
    assert widths_of(loaded) == widths == family_of(loaded).widths(loaded.config)
    again = saved_and_loaded(loaded, tmp_path / "again")
    assert (tmp_path / "again" / "config.json").read_bytes() == (tmp_path / "model" / "config.json").read_bytes()
    # These configs accept no 8 queries, or 4, for 26 features, so the global values cannot be those of the layers.
    dividing = model_type in ("eurobert", "gpt_neox", "llama")
    assert loaded.config.is_heterogeneous == (narrow or (dividing and num_features == 26))
    assert torch.equal(logits_of(again), logits_of(model))


def test_everything_at_once_saves_and_loads(model_type, tmp_path: Path):
    skip_fixed_hidden_size(model_type)
    model = cut_everywhere(model_type)
    loaded = saved_and_loaded(model, tmp_path / "model")
    assert torch.equal(logits_of(loaded), logits_of(model))
    assert widths_of(loaded) == widths_of(model)
    assert widths_of(loaded).heads[0] == widths_of(loaded).ffn[1] == 0


def test_hidden_size_and_widths_are_cut_in_any_order(model_type):
    skip_fixed_hidden_size(model_type)
    first, second = tiny_model(model_type), tiny_model(model_type)
    masks, keep = some_masks(first), some_features(26)
    cut_(first, masks)
    cut_hidden_(first, keep)
    cut_hidden_(second, keep)
    cut_(second, masks)
    assert torch.equal(logits_of(first), logits_of(second))
    assert first.config.to_dict() == second.config.to_dict()


def last_linear(model: PreTrainedModel) -> torch.nn.Linear:
    parts = family_of(model).head(model)
    return [module for part in parts for module in part.modules() if isinstance(module, torch.nn.Linear)][-1]


def test_the_head_may_keep_other_features(model_type):
    """They are no part of the residual stream: a feature that the classifier ignores goes without a trace."""
    if model_type not in MODEL_TYPES:
        pytest.skip("one linear has nothing between")
    model, keep = tiny_model(model_type), some_features(26)
    inner = some_features(26, seed=1)
    last = last_linear(model)
    assert last.out_features == 3
    last.weight.data[:, ~inner] = 0.0
    cut_hidden_(model, keep, keep_head=inner)
    torch.manual_seed(0)
    other = tiny_model(model_type)
    cut_hidden_(other, keep)
    kept = last_linear(model)
    assert torch.equal(kept.weight, last.weight[:, inner])
    assert not torch.equal(logits_of(model), logits_of(other))


@pytest.mark.parametrize(
    ("keep", "inner", "message"),
    [
        (torch.ones(31, dtype=torch.bool), None, r"a mask of \(31,\) torch.bool does not fit a hidden size of 32"),
        (torch.ones(32), None, r"a mask of \(32,\) torch.float32 does not fit"),
        (torch.zeros(32, dtype=torch.bool), None, "asked to keep 0 features of the layers and 0 of the head"),
        (some_features(5), some_features(6), "5 features of the layers and 6 of the head; the same number"),
    ],
)
def test_masks_of_features_that_do_not_fit(model_type, keep, inner, message):
    with pytest.raises(ModelError, match=message):
        cut_hidden_(tiny_model(model_type), keep, keep_head=inner)


@pytest.mark.parametrize("num_features", [24, 28])
def test_a_smaller_hidden_size_is_padded_where_heads_fill_it(model_type, num_features, tmp_path: Path):
    """24 = 3 heads of 8; 28 = 2 heads of 14, of which 6 features are zero, where the config names no features."""
    skip_fixed_hidden_size(model_type)
    model = tiny_model(model_type)
    masks = Masks.ones(widths_of(model))
    for mask in masks.heads:
        mask[:2] = False
    cut_(model, masks)
    cut_hidden_(model, some_features(num_features))
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    if num_features == 28 and getattr(family_of(model), "is_rotary", False):
        with pytest.raises(ModelError, match=r"14 features in place of 8, and positions turn them; .* a multiple of 8"):
            export_padded(tmp_path / "model", tmp_path / "padded")
        return
    export_padded(tmp_path / "model", tmp_path / "padded")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "padded").eval()
    torch.testing.assert_close(logits_of(plain), logits_of(model), rtol=0, atol=TOLERANCE)


def test_a_hidden_size_that_heads_cannot_fill_is_not_padded(model_type, tmp_path: Path):
    if not heads_fill(model_type):
        pytest.skip("the config names the features of a head")
    model = tiny_model(model_type)
    cut_hidden_(model, some_features(26))
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    with pytest.raises(ModelError, match="divides the hidden size of 26 evenly among the heads, found 4 heads of 8"):
        export_padded(tmp_path / "model", tmp_path / "padded")


def test_cost_follows_every_cut(model_type):
    skip_fixed_hidden_size(model_type)
    model = cut_everywhere(model_type, attention="eager")
    length = 13
    ids = torch.arange(5, 5 + length)[None]
    model.requires_grad_(False)  # the counter's hooks know of no parameter that a module is given
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    cost = cost_of(model, length=length)
    assert 2 * cost.macs == counter.get_total_flops()
    assert cost.nonembedding_params == amount_of(model.config, length=length).params
    assert cost.params == sum(parameter.numel() for parameter in model.parameters())


def test_a_fraction_of_dense_needs_the_dense_config_only(model_type):
    skip_fixed_hidden_size(model_type)
    model, dense = tiny_model(model_type), tiny_config(model_type)
    dense.architectures = model.config.architectures
    assert amount_of(model, length=16) == amount_of(dense, length=16)
    before_layers = 16 * (family_of(model).entrance_size(dense) or 0)
    drop_layers_(model, [1])
    of_layer = amount_of(model, length=16).macs - before_layers * 32
    assert amount_of(dense, length=16).macs - before_layers * 32 == 3 * of_layer
    cut_hidden_(model, some_features(16))
    parts, features = family_of(model).anatomy(model.config), 32 * QUERIES_PER_HEAD.get(model_type, 1)
    of_positions = 2 * parts.positions * features * (16 + 16)
    projections = 2 * 16 * 16 * (features + 32) + (parts.num_ups + 1) * 16 * 16 * 24
    of_tokens = projections + 2 * 16 * 16 * features
    assert amount_of(model, length=16).macs == of_tokens + of_positions + before_layers * 16


def test_a_hidden_size_that_is_fixed_is_refused_before_anything_changes(model_type):
    if not is_hidden_size_fixed(model_type):
        pytest.skip("this one can be cut")
    model = tiny_model(model_type)
    logits = logits_of(model)
    with pytest.raises(
        ModelError, match=f"the hidden size of {model_type} cannot be cut, its embeddings are scaled by it"
    ):
        cut_hidden_(model, some_features(24))
    assert torch.equal(logits_of(model), logits)
