"""The pruning engine on language models: every entry point, with grouped queries and gated blocks."""

import copy

import numpy as np
import pytest
import torch

from secateur.budget.allocation import Limits
from secateur.budget.cost import amount_of
from secateur.config.criteria import CRITERIA
from secateur.data.tokens import TokenRows, from_lists
from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.structures import Kept, Masks
from secateur.models.checkpoint import load, save
from secateur.models.surgery import cut_, masked, widths_of
from secateur.pruning.layers_and_features import best_layers, divergence_of_tokens, reshape_
from secateur.pruning.regrowth import expanded
from secateur.pruning.repair import repair_
from secateur.pruning.selection import Calibration, Dense, calibrate
from secateur.pruning.weights.application import prune_weights_
from secateur.pruning.weights.matrices import zeros_of
from secateur.second_order.blocks import blocks_of
from secateur.second_order.calibration import moments, real_positions
from secateur.second_order.database import build
from secateur.training.batches import batches_of
from secateur.training.objectives import forward
from tests.tiny_models import logits_of, tiny_generator
from tests.unit.pruning.prune_settings import prune_settings

pytestmark = pytest.mark.parametrize("model_type", ["gpt2", "llama"])


def rows_of(count: int = 12) -> TokenRows:
    draw = np.random.default_rng(0)
    ids = [draw.integers(5, 60, size=draw.integers(5, 14)).tolist() for _ in range(count)]
    return from_lists(ids, labels=np.zeros(count, np.int64), given=())


ROWS = rows_of()


def batches():
    return list(batches_of(ROWS, batch_size=4, pad_token_id=0))


def half(model) -> Masks:
    masks = Masks.ones(widths_of(model))
    for heads, neurons in zip(masks.heads, masks.ffn, strict=True):
        heads[1::2] = False
        neurons[::2] = False
    return masks


def test_batches_are_those_of_a_generator(model_type):
    (batch, *_) = batches()
    assert batch.labels.shape == batch.input_ids.shape
    assert forward(tiny_generator(model_type), batch, precision="fp32").shape == (*batch.labels.shape, 60)


def test_padding_has_no_moments(model_type):
    """Two rows alone, and the shorter beside the longer one: the sums are the same."""
    model = tiny_generator(model_type)
    rows = from_lists([[5, 6, 7], [8, 9, 10, 11, 12, 13, 14]], labels=np.zeros(2, np.int64), given=())
    alone, padded = (
        moments(model, batches_of(rows, batch_size=size, pad_token_id=0), seed=0, precision="fp32", weighting="tokens")
        for size in (1, 2)
    )
    for one, other in zip(alone, padded, strict=True):
        torch.testing.assert_close(one.inputs, other.inputs, rtol=1e-4, atol=1e-5)


def test_logits_of_padding_have_no_gradient(model_type):
    batch = batches()[0]
    assert real_positions(torch.ones(*batch.input_ids.shape, 4), batch).sum() == 4 * batch.attention_mask.sum()
    found = moments(tiny_generator(model_type), batches(), seed=0, precision="fp32", weighting="fisher")
    assert all(bool(one.inputs.isfinite().all()) and float(one.outputs.trace()) > 0 for one in found)


def test_the_best_weights_of_a_width_are_the_least_squares_ones(model_type):
    """Without a bias there is no constant input to lean on."""
    model = tiny_generator(model_type)
    database = build(
        model, batches(), seed=0, precision="fp32", limits=Limits.of(prune_settings(ffn_multiple=1)), weighting="tokens"
    )
    block = blocks_of(model)[-1]
    entry = database.entries[-1]
    width = entry.curve.kept[len(entry.curve.kept) // 2]
    solved = entry.solved(width).double()
    keep = entry.curve.mask(width)
    if block.projection.bias is None:
        assert bool((solved[:, -1] == 0).all())
        kept = keep.nonzero()[:, 0]
    else:
        kept = torch.cat([keep, torch.ones(1, dtype=torch.bool)]).nonzero()[:, 0]
    hessian, weight = entry.hessian, entry.weight
    expected = torch.linalg.solve(hessian[kept][:, kept], hessian[kept] @ weight.double().T).T
    torch.testing.assert_close(solved[:, kept], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mode", ["least_squares", "scales"])
def test_repair_comes_closer_to_the_dense_model(model_type, mode):
    dense = tiny_generator(model_type)
    masks = half(dense)
    cut, repaired = copy.deepcopy(dense), copy.deepcopy(dense)
    cut_(cut, masks)
    repair_(repaired, masks, dense=dense, batches=batches, mode=mode, seed=0, precision="fp32")
    with masked(repaired, masks):
        held = logits_of(repaired)
    cut_(repaired, masks)
    torch.testing.assert_close(logits_of(repaired), held, rtol=0, atol=1e-4)
    before, after = (divergence_of_tokens(one, dense, ROWS, precision="fp32") for one in (cut, repaired))
    assert after < (0.7 if mode == "least_squares" else 1.0) * before


def test_bias_compensation(model_type, tmp_path):
    """Llama gets biases, which its config can name; Mistral cannot have them."""
    dense, without = tiny_generator(model_type), tiny_generator("mistral")
    masks = half(dense)
    with pytest.raises(ModelError, match="mistral has no biases, so nothing can be made up for by them"):
        repair_(without, masks, dense=without, batches=batches, mode="bias", seed=0, precision="fp32")
    cut, repaired = copy.deepcopy(dense), copy.deepcopy(dense)
    cut_(cut, masks)
    repair_(repaired, masks, dense=dense, batches=batches, mode="bias", seed=0, precision="fp32")
    cut_(repaired, masks)
    before, after = (divergence_of_tokens(one, dense, ROWS, precision="fp32") for one in (cut, repaired))
    assert after < before
    save(repaired, None, tmp_path / "model", card={}, check_reload=False)
    assert torch.equal(logits_of(load(tmp_path / "model")), logits_of(repaired))


def test_a_layer_that_does_nothing_goes_first(model_type):
    model = tiny_generator(model_type)
    for linear in (family_of(model).layers(model)[1].attention.output, family_of(model).layers(model)[1].ffn.down):
        linear.weight.data.mul_(1e-4)
        if linear.bias is not None:
            linear.bias.data.mul_(1e-4)
    assert best_layers(model, ROWS, num_layers=2, precision="fp32") == [0, 2]


@pytest.mark.parametrize("tied", [True, False])
def test_hidden_size_of_a_round(model_type, tied):
    model = tiny_generator(model_type, tied=tied)
    dense = copy.deepcopy(model)
    layers, features = reshape_(model, ROWS, num_layers=None, hidden_size=24, precision="fp32")
    assert layers is None
    assert (features is None) == (model_type != "gpt2")
    assert family_of(model).hidden_size(model.config) == 24
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied
    assert divergence_of_tokens(model, dense, ROWS, precision="fp32") > 0


def test_what_was_cut_comes_back(model_type):
    dense = tiny_generator(model_type)
    pruned, masks = copy.deepcopy(dense), half(dense)
    cut_(pruned, masks)
    everything = Kept.all(widths_of(dense))
    whole = expanded(pruned, dense, kept=everything.after(masks), into=everything, columns="dense")
    torch.testing.assert_close(logits_of(whole), logits_of(dense), rtol=0, atol=1e-5)
    silent = expanded(pruned, dense, kept=everything.after(masks), into=everything, columns="zero")
    torch.testing.assert_close(logits_of(silent), logits_of(pruned), rtol=0, atol=2e-5)


CRITERIA_OF_STRUCTURES = [
    name for name in CRITERIA if "structures" in CRITERIA[name].scores and "multipliers" not in CRITERIA[name].needs
]


@pytest.mark.parametrize("criterion", CRITERIA_OF_STRUCTURES)
def test_every_criterion_meets_a_budget(model_type, criterion):
    """A head is a whole group: 60 % of the work that is left is counted so."""
    model = tiny_generator(model_type)
    dense, config = copy.deepcopy(model), copy.deepcopy(model.config)
    changes = {"budget": {"macs": 0.6}, "search_trials": 2, "repair": "least_squares", "ffn_multiple": 1}
    settings = prune_settings(criterion=criterion, **changes)
    calibration = Calibration(rows=ROWS, settings=settings, seed=0, precision="fp32")
    masks = calibrate(model, calibration, dense=Dense(config=config), kept=None).select_(model, target=0.6)
    cut_(model, masks)
    assert 0.5 < amount_of(model, length=32).macs / amount_of(config, length=32).macs <= 0.6
    assert divergence_of_tokens(model, dense, ROWS, precision="fp32") > 0
    ids = torch.arange(5, 17).reshape(2, 6)
    texts = [model.generate(ids, max_new_tokens=5, do_sample=False, use_cache=cached) for cached in (True, False)]
    assert torch.equal(*texts)


@pytest.mark.parametrize("criterion", ["wanda", "sparsegpt", "magnitude", "gradient"])
def test_single_weights(model_type, criterion, tmp_path):
    model = tiny_generator(model_type)
    settings = prune_settings(criterion=criterion, granularity="weights", budget={"sparsity": 0.5}, repair="none")
    masks = prune_weights_(model, rows=ROWS, sparsity=0.5, settings=settings, precision="fp32")
    assert masks.num_removed == round(0.5 * masks.num_weights)
    assert masks.num_weights == sum(
        one.weight.numel() for layer in family_of(model).layers(model) for one in layer.linears()
    )
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    loaded = load(tmp_path / "model")
    assert zeros_of(loaded).num_removed == masks.num_removed
    assert torch.equal(logits_of(loaded), logits_of(model))
