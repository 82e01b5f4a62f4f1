import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from secateur.evaluation.cost import structure_costs
from secateur.models.surgery import cut_, widths_of
from secateur.pruning.criteria import fisher
from secateur.pruning.prices import PriceTable
from secateur.pruning.second_order.blocks import blocks_of
from secateur.pruning.second_order.mask_fisher import mask_fisher
from secateur.pruning.second_order.selection import calibrate_second_order
from secateur.training.objectives import forward
from tests.unit.pruning.material import tiny_model
from tests.unit.pruning.prune_settings import prune_settings
from tests.unit.pruning.second_order_material import batches, distance, logits

METHODS = pytest.mark.parametrize("criterion", ["obs", "fisher"])


def test_the_fisher_block_is_the_second_moment_of_finite_differences_of_single_rows():
    model = tiny_model()
    found = mask_fisher(model, batches(12), precision="fp32")[2]
    weight = blocks_of(model)[2].projection.weight
    gradients = []
    for unit in (0, 7):
        columns = []
        for step in (1e-2, -1e-2):
            changed = weight.detach().clone()
            changed[:, unit] *= 1.0 + step
            saved, weight.data = weight.data, changed
            with torch.no_grad():
                losses = [
                    cross_entropy(forward(model, batch, precision="fp32").double(), batch.labels, reduction="none")
                    for batch in batches(12)
                ]
            weight.data = saved
            columns.append(torch.cat(losses))
        gradients.append((columns[0] - columns[1]) / 2e-2)
    stacked = torch.stack(gradients, dim=1)
    expected = stacked.T @ stacked / len(stacked)
    torch.testing.assert_close(found[[0, 7]][:, [0, 7]], expected, rtol=2e-2, atol=1e-7)


def test_the_size_of_batches_does_not_matter():
    model, settings = tiny_model(), prune_settings(criterion="fisher")
    one = fisher.score(model, batches(batch_size=1), precision="fp32", settings=settings)
    many = fisher.score(model, batches(batch_size=32), precision="fp32", settings=settings)
    for own, other in zip((*one.heads, *one.ffn), (*many.heads, *many.ffn), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-8)


@METHODS
@pytest.mark.parametrize("repair", ["none", "bias", "least_squares"])
def test_one_calibration_serves_many_budgets(criterion, repair):
    model = tiny_model()
    settings = prune_settings(
        criterion=criterion, repair=repair, ffn_multiple=4, min_heads=0, min_neurons=0, search_trials=2
    )
    prices = PriceTable.linear(structure_costs(model, length=8), "macs", dense=widths_of(model))
    dense = prices.total(widths_of(model))
    method = calibrate_second_order(model, batches, settings=settings, seed=0, precision="fp32", kept=None)
    for fraction in (1.0, 0.6, 0.3):
        pruned = copy.deepcopy(model)
        masks = method.select_(pruned, prices=prices, budget=fraction * dense)
        assert widths_of(pruned) == widths_of(model)
        full = logits(pruned)
        cut_(pruned, masks)
        assert prices.total(widths_of(pruned)) <= fraction * dense
        torch.testing.assert_close(logits(pruned), full, rtol=1e-4, atol=1e-5)
        if fraction == 1.0:
            torch.testing.assert_close(full, logits(model), rtol=1e-5, atol=1e-6)


def test_tuned_masks_come_closer_than_masks_alone():
    model = tiny_model()
    settings = prune_settings(criterion="fisher", repair="none", ffn_multiple=4)
    prices = PriceTable.linear(structure_costs(model, length=8), "macs", dense=widths_of(model))
    method = calibrate_second_order(model, batches, settings=settings, seed=0, precision="fp32", kept=None)
    tuned, silent = copy.deepcopy(model), copy.deepcopy(model)
    masks = method.select_(tuned, prices=prices, budget=0.6 * prices.total(widths_of(model)))
    for block, keep in zip(blocks_of(silent), (*masks.heads, *masks.ffn), strict=True):
        block.projection.weight.data[:, ~keep.repeat_interleave(block.unit_size)] = 0.0
    assert distance(tuned, model) < distance(silent, model)


@METHODS
def test_multipliers_protect_and_send_first(criterion):
    model = tiny_model()
    table = {"layers.0.heads.2": float("inf"), "layers.1.ffn": 0.0}
    settings = prune_settings(criterion=criterion, multipliers=table, ffn_multiple=4, min_heads=0, min_neurons=0)
    prices = PriceTable.linear(structure_costs(model, length=8), "macs", dense=widths_of(model))
    method = calibrate_second_order(model, batches, settings=settings, seed=0, precision="fp32", kept=None)
    masks = method.select_(copy.deepcopy(model), prices=prices, budget=0.3 * prices.total(widths_of(model)))
    assert bool(masks.heads[0][2])
    assert not bool(masks.ffn[1].any())
