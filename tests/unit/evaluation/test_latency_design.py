from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from secateur.evaluation.latency_design import BlockPrices, corrected, design_for, fit_prices, solutions
from secateur.evaluation.latency_table import Shape
from secateur.models.structures import Widths

SHAPE = Shape("bert", num_layers=6, num_heads=12, head_dim=32, hidden_size=384, ffn=1536, kept_hidden_size=384)


TRUTH = np.random.default_rng(0)
ATTENTION = 0.03 + np.concatenate([[0], TRUTH.uniform(0.0, 0.1, size=12).cumsum()])
FFN = 0.03 + np.concatenate([[0], TRUTH.uniform(0.0, 0.05, size=26).cumsum()])
FIXED = 0.2


def cost(widths: Widths, ffn_widths: tuple[int, ...]) -> float:
    neurons = sum(FFN[ffn_widths.index(count)] for count in widths.ffn)
    return FIXED + sum(ATTENTION[count] for count in widths.heads) + neurons


def test_prices_that_add_up_are_found_exactly():
    design = design_for(SHAPE)
    times = [cost(widths, design.ffn_widths) for widths in design.models]
    found = fit_prices(design.models, times, ffn_widths=design.ffn_widths)
    np.testing.assert_allclose(found.attention_ms, ATTENTION, rtol=1e-6)
    np.testing.assert_allclose(found.ffn_ms, FFN, rtol=1e-6)
    assert found.fixed_ms == pytest.approx(FIXED)


def test_the_solver_chooses_models_of_all_sizes_within_their_budgets():
    design = design_for(SHAPE)
    prices = BlockPrices(tuple(ATTENTION), tuple(FFN), FIXED)
    chosen = solutions(prices, SHAPE, ffn_widths=design.ffn_widths, count=6, seed=0)
    dense = cost(SHAPE.dense, design.ffn_widths)
    found = [cost(widths, design.ffn_widths) / dense for widths in chosen]
    asked = np.geomspace(0.08, 0.7, num=6).tolist()
    # The smallest model may cost more than the smallest budget.
    assert all(share <= budget * (1 + 1e-6) for share, budget in zip(found[-4:], asked[-4:], strict=True))
    assert found == sorted(found)
    assert found[-1] > 0.6
    assert solutions(prices, SHAPE, ffn_widths=design.ffn_widths, count=6, seed=0) == chosen
    assert solutions(prices, SHAPE, ffn_widths=design.ffn_widths, count=6, seed=1) != chosen


def test_what_chosen_models_take_longer_is_added():
    design = design_for(SHAPE)
    prices = BlockPrices(tuple(ATTENTION), tuple(FFN), FIXED)
    chosen = solutions(prices, SHAPE, ffn_widths=design.ffn_widths, count=6, seed=0)
    predicted = [cost(widths, design.ffn_widths) for widths in chosen]
    found = corrected(prices, predicted, [1.04 * time + 0.1 for time in predicted])
    np.testing.assert_allclose(found.attention_ms, 1.04 * ATTENTION)
    np.testing.assert_allclose(found.ffn_ms, 1.04 * FFN)
    assert found.fixed_ms == pytest.approx(1.04 * FIXED + 0.1)
    assert corrected(prices, predicted[:2], predicted[:2]) == prices


def test_wider_is_never_cheaper_whatever_the_noise():
    design = design_for(SHAPE)
    times = np.random.default_rng(1).uniform(1.0, 2.0, size=len(design.models))
    found = fit_prices(design.models, times.tolist(), ffn_widths=design.ffn_widths)
    for prices in (found.attention_ms, found.ffn_ms):
        assert all(narrow <= wide for narrow, wide in pairwise(prices))
        assert prices[0] >= 0
    assert found.fixed_ms >= 0


def test_the_design_times_every_width():
    design = design_for(SHAPE)
    assert design.models[0] == SHAPE.dense
    assert {count for widths in design.models for count in widths.heads} == set(range(13))
    assert {count for widths in design.models for count in widths.ffn} == {*design.ffn_widths}
    assert {*design.ffn_widths} == {*range(0, 1537, 64), 16, 32}
    assert design_for(SHAPE) == design


def test_large_models_have_no_more_widths_and_odd_ones_end_at_theirs():
    assert design_for(replace(SHAPE, ffn=4096)).ffn_widths[:5] == (0, 48, 96, 192, 384)
    assert len(design_for(replace(SHAPE, ffn=4096)).ffn_widths) <= 27
    assert design_for(replace(SHAPE, ffn=100)).ffn_widths == (0, 16, 32, 64, 100)
