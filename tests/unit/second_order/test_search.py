import copy
from dataclasses import replace

import pytest
import torch

from secateur.budget.cost import structure_costs
from secateur.budget.error_curves import BlockCurves, Curve
from secateur.budget.knapsack import solve
from secateur.budget.prices import PriceTable
from secateur.errors import BudgetError
from secateur.models.surgery import widths_of
from secateur.second_order.database import build
from secateur.second_order.search import search
from tests.unit.pruning.tiny import tiny_model
from tests.unit.second_order.tiny import LIMITS, batches, logits


@pytest.fixture(scope="module")
def prepared():
    model = tiny_model()
    database = build(model, batches(), seed=0, precision="fp32", limits=LIMITS)
    prices = PriceTable.linear(structure_costs(model, length=8), "macs", dense=widths_of(model))
    return model, database, prices, 0.4 * prices.total(widths_of(model))


def found(prepared, *, trials, seed=0):
    model, database, prices, budget = prepared
    return search(database, model, batches(), prices=prices, budget=budget, trials=trials, seed=seed, precision="fp32")


def divergence(prepared, widths) -> float:
    model, database, _, _ = prepared
    stitched = copy.deepcopy(model)
    database.stitch_(stitched, widths)
    dense, other = logits(model).log_softmax(dim=-1), logits(stitched).log_softmax(dim=-1)
    return float((dense.exp() * (dense - other)).sum(dim=-1).mean())


def test_without_trials_it_is_the_exact_solution(prepared):
    _, database, prices, budget = prepared
    assert found(prepared, trials=0) == solve(database.curves, prices, budget=budget)


def test_trials_never_make_it_worse_and_keep_the_budget(prepared):
    _, _, prices, budget = prepared
    plain, searched = found(prepared, trials=1), found(prepared, trials=30)
    assert plain == found(prepared, trials=0)
    assert divergence(prepared, searched) <= divergence(prepared, plain)
    assert prices.total(searched) <= budget


def test_it_finds_what_wrong_errors_hide(prepared):
    # Errors of one block are eight times too large: only looking at the model can tell.
    _, database, _, _ = prepared
    wrong = BlockCurves(heads=database.curves.heads, ffn=(_scaled(database.curves.ffn[0], 8.0), database.curves.ffn[1]))
    misled = replace(database, curves=wrong)
    given = (prepared[0], misled, *prepared[2:])
    assert divergence(prepared, found(given, trials=40)) < divergence(prepared, found(given, trials=1))


def _scaled(curve: Curve, factor: float) -> Curve:
    return Curve(order=curve.order, kept=curve.kept, errors=tuple(error * factor for error in curve.errors))


def test_the_seed_decides(prepared):
    assert found(prepared, trials=10, seed=1) == found(prepared, trials=10, seed=1)


def test_the_model_is_left_as_it_was(prepared):
    model = prepared[0]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found(prepared, trials=3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_an_impossible_budget_is_refused(prepared):
    model, database, prices, _ = prepared
    with pytest.raises(BudgetError, match="not reachable"):
        search(database, model, batches(), prices=prices, budget=-1.0, trials=5, seed=0, precision="fp32")
