"""A large model goes layer by layer, from the same bits to the same bits."""

import copy
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import BertConfig, Qwen2Config

from secateur.budget.allocation import Limits
from secateur.config.one_shot import one_shot_settings
from secateur.data.tokens import from_lists
from secateur.errors import ModelError, ProjectError
from secateur.families.linears import convert_
from secateur.inference.at_rest import at_rest, computing_in_fp32
from secateur.models.surgery import cut_
from secateur.pruning.first_order import taylor
from secateur.pruning.once import can_rest, left_out_for_size
from secateur.pruning.selection import Calibration, Dense, calibrate
from secateur.second_order import layerwise, surgeon
from secateur.second_order.blocks import blocks_of
from secateur.second_order.calibration import all_token_weights, moments, moments_in_turn
from secateur.second_order.database import build
from secateur.second_order.mask_fisher import mask_fisher
from secateur.second_order.shelf import Shelf
from secateur.second_order.surgeon import damped_, remove_groups
from secateur.training import objectives
from secateur.training.batches import batches_of
from secateur.training.validation import validate
from tests.tiny_models import DECODER_TYPES, ENCODER_TABLES, tiny_generator, tiny_model
from tests.unit.pruning.prune_settings import prune_settings

VALIDATED = {"batch_size": 4, "precision": "fp32"}
PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "bf16"])


def rows_of(*, generates: bool, count: int = 6):
    draw = np.random.default_rng(0)
    ids = [draw.integers(5, 60, size=draw.integers(5, 14)).tolist() for _ in range(count)]
    return from_lists(ids, labels=draw.integers(2, size=count), **({"given": ()} if generates else {}))


def tiny(model_type: str):
    generates = model_type in DECODER_TYPES
    model = tiny_generator(model_type) if generates else tiny_model(model_type)
    return model, list(batches_of(rows_of(generates=generates), batch_size=4, pad_token_id=0))


@pytest.fixture
def large(monkeypatch):
    """Let every model count as a large one from now on."""
    return lambda: monkeypatch.setattr(layerwise, "LARGE_BYTES", 0)


@PRECISIONS
@pytest.mark.parametrize("model_type", [*ENCODER_TABLES, *DECODER_TYPES])
def test_moments_and_slopes_have_the_bits_of_a_whole_pass(model_type, precision, large):
    model, batches = tiny(model_type)
    whole = moments(model, batches, seed=3, precision=precision, weighting="fisher")
    weights = list(all_token_weights(model, batches, seed=3, precision=precision))
    scores, fishers = (found(model, batches, precision=precision) for found in (taylor, mask_fisher))
    before = [parameter.requires_grad for parameter in model.parameters()]
    large()
    in_turn = dict(moments_in_turn(model, batches, seed=3, precision=precision, weighting="fisher"))
    for place, moment in enumerate(whole):
        assert torch.equal(in_turn[place].inputs, moment.inputs)
        assert torch.equal(in_turn[place].outputs, moment.outputs)
    again = list(all_token_weights(model, batches, seed=3, precision=precision))
    assert all(torch.equal(*pair) for pair in zip(weights, again, strict=True))
    pairs = zip(chain(*scores), chain(*taylor(model, batches, precision=precision)), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    assert all(
        torch.equal(*pair) for pair in zip(fishers, mask_fisher(model, batches, precision=precision), strict=True)
    )
    assert [parameter.requires_grad for parameter in model.parameters()] == before


@PRECISIONS
@pytest.mark.parametrize("criterion", ["obs", "magnitude", "gradient", "fisher"])
@pytest.mark.parametrize("model_type", ["gpt2", "qwen2"])
def test_weights_at_rest_lead_to_the_same_bits(model_type, criterion, precision, large):
    """Of 16 bits, and kept so, against the same ones widened at once."""
    model, _ = tiny(model_type)
    model = model.to(torch.bfloat16)
    rows, config = rows_of(generates=True, count=12), copy.deepcopy(model.config)
    settings = prune_settings(criterion=criterion, budget={"macs": 0.6}, repair="least_squares", ffn_multiple=1)
    calibration = Calibration(rows=rows, settings=settings, seed=0, precision=precision)

    def pruned(one):
        masks = calibrate(one, calibration, dense=Dense(config=config), kept=None).select_(one, target=0.6)
        cut_(one, masks)
        return convert_(one, torch.bfloat16).state_dict()

    wide = pruned(copy.deepcopy(model).float())
    large()
    with computing_in_fp32():
        resting = at_rest(model)
        assert resting.get_input_embeddings().weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
        narrow = pruned(resting)
    assert wide.keys() == narrow.keys()
    assert all(torch.equal(wide[name], narrow[name]) for name in wide)


def test_who_rests(large):
    model = tiny_generator("qwen2").to(torch.bfloat16)
    assert not can_rest(model, one_shot_settings({}))
    large()
    assert can_rest(model, one_shot_settings({}))
    others = (
        {"recovery.epochs": 1.0},
        {"hidden_size": 24},
        {"criterion": "gradient", "criteria.gradient.score": "snip"},
    )
    assert not any(can_rest(model, one_shot_settings(changes)) for changes in others)
    assert not can_rest(model.float(), one_shot_settings({}))


def test_models_that_are_searched_for_widths():
    sizes = {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14}
    large = Qwen2Config(num_key_value_heads=2, vocab_size=151_936, **sizes)
    bert = BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
    assert left_out_for_size(large) == {"criteria.obs.search_trials": 0}
    assert left_out_for_size(bert) == {}


@pytest.mark.parametrize("protected", [(), (3, 40, 41)])
def test_wide_matrices_lose_the_same_columns(monkeypatch, protected):
    """In blocks of likely ones, most of which are; whatever is not is multiplied by itself."""
    draw = torch.Generator().manual_seed(0)
    inputs, weight = (torch.randn(size, 301, dtype=torch.float64, generator=draw) for size in (700, 20))
    factors = torch.ones(300)
    factors[list(protected)] = torch.inf
    hessian = damped_(inputs.T @ inputs / 700)
    plain = remove_groups(weight, hessian, factors=factors)
    for ahead in (160, 8):
        monkeypatch.setattr(surgeon, "_WIDE", 0)
        monkeypatch.setattr(surgeon, "_AHEAD", ahead)
        wide = remove_groups(weight, hessian, factors=factors)
        assert torch.equal(wide.order, plain.order)
        torch.testing.assert_close(wide.errors, plain.errors, rtol=1e-11, atol=0.0)


def test_logits_of_many_words_come_bit_by_bit(large, monkeypatch):
    model, batches = tiny("llama")
    whole = moments(model, batches, seed=0, precision="fp32", weighting="fisher")
    scores, lost = taylor(model, batches, precision="fp32"), validate(model, rows_of(generates=True), **VALIDATED)
    large()
    for most in (60 * 14 * 2, 60 * 5):  # two rows; five tokens
        monkeypatch.setattr(layerwise, "_MOST_LOGITS", most)
        in_turn = dict(moments_in_turn(model, batches, seed=0, precision="fp32", weighting="fisher"))
        for place, moment in enumerate(whole):
            torch.testing.assert_close(in_turn[place].inputs, moment.inputs, rtol=1e-4, atol=1e-6)
        pairs = zip(chain(*scores), chain(*taylor(model, batches, precision="fp32")), strict=True)
        assert all(torch.allclose(*pair, rtol=1e-4) for pair in pairs)
    monkeypatch.setattr(objectives, "MOST_LOGITS", 60 * 14)
    assert len(objectives.in_reach(model, batches[-1])) > 1
    assert validate(model, rows_of(generates=True), **VALIDATED).loss == pytest.approx(lost.loss, rel=1e-6)


def test_what_temporary_files_have_no_room_for_is_refused(large, monkeypatch):
    model, batches = tiny("llama")
    large()
    monkeypatch.setattr(layerwise, "disk_usage", lambda _: SimpleNamespace(free=5_000))
    monkeypatch.setattr(layerwise, "called", None)  # nothing is computed
    with pytest.raises(ProjectError, match=r"has 0\.0 GB left, and what waits there .*TMPDIR"):
        taylor(model, batches, precision="fp32")


def test_a_shelf_gives_back_what_it_was_given():
    matrices = [torch.randn(3, 5, dtype=torch.float64), torch.zeros(0, 4, dtype=torch.float64), torch.eye(2).double()]
    for on_disk in (False, True):
        shelf = Shelf(on_disk=on_disk)
        places = [shelf.put(matrix) for matrix in matrices]
        for place in (2, 0, 1, 0):
            assert torch.equal(shelf.take(places[place]), matrices[place])


def test_weights_that_are_no_numbers_are_named_layer_by_layer(large):
    model, batches = tiny("llama")
    large()
    blocks_of(model)[-1].projection.weight.data[0, 0] = torch.nan
    limits = Limits.of(prune_settings(ffn_multiple=1))
    with pytest.raises(ModelError, match=r"criterion obs: .*layers\.0\.heads.*layers\.2\.ffn hold NaN"):
        build(model, batches, seed=0, precision="fp32", limits=limits)
