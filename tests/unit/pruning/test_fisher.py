import copy

import torch
from torch.nn.functional import cross_entropy

from secateur.budget.cost import structure_costs
from secateur.budget.prices import PriceTable
from secateur.criteria.fisher import FISHER
from secateur.models.surgery import widths_of
from secateur.second_order.blocks import blocks_of
from secateur.second_order.mask_fisher import mask_fisher
from secateur.training.objectives import forward
from tests.unit.pruning.tiny import tiny_model
from tests.unit.second_order.tiny import batches, distance, terms


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
    one, many = (mask_fisher(tiny_model(), batches(batch_size=size), precision="fp32") for size in (1, 32))
    for own, other in zip(one, many, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-8)


def test_tuned_masks_come_closer_than_masks_alone():
    model = tiny_model()
    prices = PriceTable.linear(structure_costs(model, length=8), "macs", dense=widths_of(model))
    method = FISHER.curves(model, batches, terms=terms(model, repair="none"), settings=FISHER.settings())
    tuned, silent = copy.deepcopy(model), copy.deepcopy(model)
    masks = method.select_(tuned, prices=prices, budget=0.6 * prices.total(widths_of(model)))
    for block, keep in zip(blocks_of(silent), (*masks.heads, *masks.ffn), strict=True):
        block.projection.weight.data[:, ~keep.repeat_interleave(block.unit_size)] = 0.0
    assert distance(tuned, model) < distance(silent, model)
