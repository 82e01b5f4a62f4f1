"""What holds for families whose norms span all heads of a layer: these go together, and all else goes as everywhere."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

import secateur
from secateur.budget.cost import cost_of
from secateur.families import family_of
from secateur.families.structures import Masks, Widths
from secateur.formats.onnx import export_onnx
from secateur.formats.padded import export_padded
from secateur.formats.tracing import cache_shapes
from secateur.models.checkpoint import load, save
from secateur.models.depth import drop_layers_
from secateur.models.hidden import cut_hidden_
from secateur.models.surgery import cut_, widths_of
from tests.contract.test_families_generation import (
    TOLERANCE,
    plain_of,
    require_counted,
    require_cut_as_masked_,
    written,
)
from tests.tiny_models import TOGETHER, logits_of, some_masks, tiny_generator

pytestmark = pytest.mark.parametrize("model_type", TOGETHER)


def uneven(model: PreTrainedModel) -> Masks:
    """No heads in layer 0, no neurons in layer 1, other neurons in layer 2."""
    heads, ffn = Masks.ones(widths_of(model)).heads, some_masks(model).ffn
    heads[0][:], ffn[1][:] = False, False
    return Masks(heads=heads, ffn=ffn)


@pytest.fixture
def cut(model_type: str) -> PreTrainedModel:
    model = tiny_generator(model_type)
    cut_(model, uneven(model))
    return model


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_cut_model_gives_the_logits_of_the_masked_one(model_type: str, attention: str) -> None:
    model = tiny_generator(model_type, attention=attention)
    assert widths_of(model) == Widths(heads=(1, 1, 1), ffn=(24, 24, 24), head_dim=4 * 8)
    require_cut_as_masked_(model, uneven(model), head_dim=32)


def test_saved_trained_further_and_padded_it_stays_itself(cut: PreTrainedModel, tmp_path: Path) -> None:
    save(cut, None, tmp_path / "model", card={}, check_reload=False)
    loaded = load(tmp_path / "model")
    assert torch.equal(logits_of(loaded), logits_of(cut))
    assert family_of(loaded).dense_widths(loaded.config).heads == (1, 1, 1)
    export_padded(tmp_path / "model", tmp_path / "padded")
    torch.testing.assert_close(logits_of(plain_of(tmp_path / "padded")), logits_of(cut), rtol=0, atol=TOLERANCE)
    with secateur.in_transformers():
        assert torch.equal(logits_of(plain_of(tmp_path / "model")), logits_of(cut))
    ids = torch.arange(5, 32).reshape(3, 9)
    loaded(input_ids=ids, labels=ids).loss.backward()
    torch.optim.SGD(loaded.parameters(), lr=0.05).step()
    loaded.save_pretrained(tmp_path / "further", max_shard_size="16KB")
    assert torch.equal(logits_of(load(tmp_path / "further")), logits_of(loaded))


def test_layers_features_and_tokens_go_too(model_type: str, cut: PreTrainedModel, tmp_path: Path) -> None:
    drop_layers_(cut, [0, 2])
    cut_hidden_(cut, torch.arange(32) % 8 < 7)
    family_of(cut).replace_vocabulary_(cut, [0, 2, *range(5, 40)])
    save(cut, None, tmp_path / "model", card={}, check_reload=False)
    loaded = load(tmp_path / "model")
    assert torch.equal(logits_of(loaded), logits_of(cut))
    assert widths_of(loaded) == Widths(heads=(0, 1), ffn=widths_of(cut).ffn, head_dim=32)
    whole = tiny_generator(model_type)
    cut_hidden_(whole, torch.arange(32) < 28)
    save(whole, None, tmp_path / "plain", card={}, check_reload=False)
    torch.testing.assert_close(logits_of(plain_of(tmp_path / "plain")), logits_of(whole), rtol=0, atol=TOLERANCE)


def test_with_and_without_a_cache_and_padded_on_the_left(cut: PreTrainedModel) -> None:
    short, long = torch.arange(5, 9)[None], torch.arange(20, 27)[None]
    assert written(cut, long, use_cache=True) == written(cut, long, use_cache=False)
    batch = torch.cat([torch.cat([torch.zeros(1, 3, dtype=torch.int64), short], dim=1), long])
    mask = (torch.arange(7) >= torch.tensor([[3], [0]])).long()
    assert written(cut, batch, attention_mask=mask) == written(cut, short) + written(cut, long)


def test_counts_and_gradients(model_type: str) -> None:
    """60 tokens, 3 layers of 32 features, 8 queries and 4 keys of 8, 24 neurons; norms over queries and over keys."""
    model = tiny_generator(model_type, attention="eager")
    layer = 2 * 8 * 8 * 32 + 2 * 4 * 8 * 32 + 3 * 32 * 24 + 2 * 32 + 8 * 8 + 4 * 8
    assert cost_of(model).params == 3 * layer + 32 + 60 * 32
    cut_(model, uneven(model))
    require_counted(model)
    ids = torch.arange(5, 18)[None]
    logits = model.train()(input_ids=ids[:, :-1]).logits
    cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("criterion", ["magnitude", "fisher", "obs"])
def test_criteria_choose_among_what_there_is(model_type: str, criterion: str) -> None:
    model = tiny_generator(model_type)
    ids = torch.randint(1, 60, (6, 9), generator=torch.Generator().manual_seed(1))
    asked = {"ffn_multiple": 4, "search_trials": 0}
    result = secateur.prune(
        model, [{"input_ids": ids, "labels": ids}], budget={"macs": 0.6}, criterion=criterion, settings=asked
    )
    assert 0.3 < result.achieved["macs"] <= 0.6
    assert set(result.after.heads) <= {0, 1}


def test_a_step_in_onnx_agrees(model_type: str, tmp_path: Path) -> None:
    """``export_onnx`` compares the steps; here it is a row at once."""
    if model_type != TOGETHER[0]:
        pytest.skip("5 s each; the graph is the same")
    model = tiny_generator(model_type, num_layers=2)
    masks = Masks.ones(widths_of(model))
    masks.heads[0][:] = False
    cut_(model, masks)
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    session = onnxruntime.InferenceSession(str(export_onnx(tmp_path / "model", tmp_path / "onnx")))
    ids = torch.arange(4, 12)[None]
    cache = [np.zeros(shape, np.float32) for shape in cache_shapes(model, batch=1, length=0)]
    feed = {"input_ids": ids.numpy(), "attention_mask": np.ones((1, 8), np.int64), "logits_to_keep": np.arange(8)}
    feed |= {f"past.{place}": tensor for place, tensor in enumerate(cache)}
    found = session.run(None, feed)[0]
    with torch.no_grad():
        expected = model(input_ids=ids, use_cache=False).logits.numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
