import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.errors import BudgetError
from secateur.models.structures import Widths
from secateur.pruning.dynamic_programming import solve
from secateur.pruning.levels import Curve, Levels
from secateur.pruning.prices import PriceTable

NUM_LAYERS = 3


def curve(errors: list[float]) -> Curve:
    units = len(errors) - 1
    return Curve(order=torch.arange(units), kept=tuple(range(units, -1, -1)), errors=tuple(errors))


def rising(count: int, numbers: st.SearchStrategy) -> st.SearchStrategy[list]:
    return st.lists(numbers, min_size=count, max_size=count).map(lambda steps: list(itertools.accumulate(steps)))


@st.composite
def problems(draw: st.DrawFn, numbers: st.SearchStrategy) -> tuple[Levels, PriceTable, float]:
    """Three layers, whose heads have 4 widths and whose neurons have 2 (4096 * 8 / 64 would be slow to try)."""
    errors = [[0.0, *draw(rising(3, st.floats(0, 10)))] for _ in range(NUM_LAYERS)]
    ffn = [[0.0, draw(st.floats(0, 10))] for _ in range(NUM_LAYERS)]
    table = PriceTable(heads=tuple(draw(rising(4, numbers))), ffn=tuple(draw(rising(2, numbers))), fixed=draw(numbers))
    levels = Levels(heads=tuple(map(curve, errors)), ffn=tuple(map(curve, ffn)))
    most, least = (table.total(uniform(heads, neurons)) for heads, neurons in ((3, 1), (0, 0)))
    return levels, table, least + draw(st.floats(0, 1)) * (most - least)


def uniform(heads: int, neurons: int) -> Widths:
    return Widths(heads=(heads,) * NUM_LAYERS, ffn=(neurons,) * NUM_LAYERS, head_dim=1)


def brute_force(levels: Levels, table: PriceTable, budget: float) -> float:
    best = math.inf
    for heads in itertools.product(range(4), repeat=NUM_LAYERS):
        for ffn in itertools.product(range(2), repeat=NUM_LAYERS):
            widths = Widths(heads=heads, ffn=ffn, head_dim=1)
            if table.total(widths) <= budget * (1 + 1e-9):
                best = min(best, levels.error(widths))
    return best


@settings(deadline=None, max_examples=60)
@given(problem=problems(st.integers(0, 50).map(float)))
def test_integer_prices_are_solved_exactly(problem):
    levels, table, budget = problem
    found = solve(levels, table, budget=budget)
    assert table.total(found) <= budget * (1 + 1e-9)
    assert levels.error(found) == pytest.approx(brute_force(levels, table, budget), abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(problem=problems(st.floats(0.001, 5)), buckets=st.sampled_from([7, 100, 10_000]))
def test_rounding_never_exceeds_the_budget_and_costs_at_most_one_bucket_per_block(problem, buckets):
    levels, table, budget = problem
    found = solve(levels, table, budget=budget, buckets=buckets)
    assert table.total(found) <= budget * (1 + 1e-9)
    cheapest = table.total(uniform(0, 0))
    lost = (budget - cheapest) * 2 * NUM_LAYERS / buckets
    tighter = max(budget - lost, cheapest)
    assert levels.error(found) <= brute_force(levels, table, tighter) + 1e-9


def test_what_rounding_left_over_is_spent():
    # One bucket: every price above the cheapest rounds up to the whole budget, so the search affords one upgrade.
    levels = Levels(heads=(curve([0.0, 5.0]), curve([0.0, 3.0])), ffn=(curve([0.0]), curve([0.0])))
    table = PriceTable(heads=(0.0, 0.5), ffn=(0.0,), fixed=0.25)
    widths = solve(levels, table, budget=1.25, buckets=1)
    assert widths.heads == (1, 1)


def test_a_whole_budget_keeps_everything():
    levels = Levels(heads=(curve([0.0, 1.0, 2.0]),), ffn=(curve([0.0, 0.5]),))
    table = PriceTable(heads=(0.0, 0.31, 0.77), ffn=(0.1, 0.2), fixed=0.0, head_dim=8)
    assert solve(levels, table, budget=table.total(Widths((2,), (1,), head_dim=8))) == Widths((2,), (1,), head_dim=8)


def test_an_impossible_budget_names_the_nearest_one():
    levels = Levels(heads=(curve([0.0, 1.0]),), ffn=(curve([0.0, 1.0]),))
    table = PriceTable(heads=(0.25, 1.0), ffn=(0.5, 1.0), fixed=1.0, kind="latency")
    with pytest.raises(BudgetError, match=r"a budget of 1\.5 ms is not reachable: .*take 1\.75; ask for 1\.75 or more"):
        solve(levels, table, budget=1.5)
    assert solve(levels, table, budget=1.75).heads == (0,)


def test_a_wider_block_at_the_same_price_is_taken():
    levels = Levels(heads=(curve([0.0, 1.0, 3.0]),), ffn=(curve([0.0]),))
    table = PriceTable(heads=(0.0, 0.4, 0.4), ffn=(0.0,), fixed=0.0)
    assert solve(levels, table, budget=0.4).heads == (2,)
