"""One suite for all criteria that know the error of every width: being registered is being tested."""

import copy
import math

import pytest
import torch

from secateur.budget.cost import structure_costs
from secateur.budget.prices import PriceTable
from secateur.config.criteria import CRITERIA
from secateur.errors import BudgetError
from secateur.models.surgery import cut_, widths_of
from tests.contract.criterion_variants import OF_CURVES
from tests.unit.pruning.tiny import tiny_model
from tests.unit.second_order.tiny import batches, logits, terms

EVERY = pytest.mark.parametrize("name", OF_CURVES)


def survey(name, model, **changes):
    criterion = CRITERIA[name]
    settings = criterion.settings.model_validate({"search_trials": 2} if name == "obs" else {})
    return criterion.curves(model, batches, terms=terms(model, **changes), settings=settings)


@EVERY
def test_the_weights_are_left_and_errors_grow_with_what_goes(name):
    model = tiny_model()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    curves, widths = survey(name, model).curves, widths_of(model)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    for of_kind, counts in ((curves.heads, widths.heads), (curves.ffn, widths.ffn)):
        for curve, count in zip(of_kind, counts, strict=True):
            assert sorted(curve.order.tolist()) == list(range(count))
            assert curve.kept[0] == count
            assert curve.errors[0] == 0.0
            assert list(curve.errors) == sorted(curve.errors)
            assert all(math.isfinite(error) for error in curve.errors)


@EVERY
def test_the_same_model_gives_the_same_choice_and_bits(name):
    model = tiny_model()
    prices = PriceTable.linear(structure_costs(model, length=8), "macs", dense=widths_of(model))
    found = []
    for _ in range(2):
        pruned = copy.deepcopy(model)
        cut_(pruned, survey(name, model).select_(pruned, prices=prices, budget=0.5 * prices.total(widths_of(model))))
        found.append(pruned.state_dict())
    assert all(torch.equal(tensor, found[1][key]) for key, tensor in found[0].items())


@EVERY
def test_a_budget_out_of_reach_leaves_the_model(name):
    model = tiny_model()
    prices = PriceTable.linear(structure_costs(model, length=8), "macs", dense=widths_of(model))
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    method = survey(name, model)
    with pytest.raises(BudgetError):
        method.select_(model, prices=prices, budget=0.5 * prices.fixed - 1.0)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@EVERY
@pytest.mark.parametrize("repair", ["none", "bias", "least_squares"])
def test_one_calibration_serves_many_budgets(name, repair):
    model = tiny_model()
    prices = PriceTable.linear(structure_costs(model, length=8), "macs", dense=widths_of(model))
    dense = prices.total(widths_of(model))
    method = survey(name, model, repair=repair)
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


@EVERY
def test_multipliers_protect_and_send_first(name):
    model = tiny_model()
    table = {"layers.0.heads.2": float("inf"), "layers.1.ffn": 0.0}
    prices = PriceTable.linear(structure_costs(model, length=8), "macs", dense=widths_of(model))
    method = survey(name, model, multipliers=table)
    masks = method.select_(copy.deepcopy(model), prices=prices, budget=0.3 * prices.total(widths_of(model)))
    assert bool(masks.heads[0][2])
    assert not bool(masks.ffn[1].any())
