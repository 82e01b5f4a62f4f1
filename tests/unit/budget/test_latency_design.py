from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from secateur.budget.block_prices import BlockPrices, corrected, fit_prices
from secateur.budget.latency_design import design_for, solutions
from secateur.budget.latency_table import Shape
from secateur.budget.prices import PriceTable
from secateur.families.structures import Widths

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


@pytest.mark.parametrize("noise", ["uniform", "reversed", "heavy tails", "one absurd", "all alike"])
@pytest.mark.parametrize("seed", range(5))
def test_a_table_never_decreases_whatever_the_machine_did_meanwhile(noise: str, seed: int):
    """From the first fit to the correction, as a table is made."""
    draw = np.random.default_rng(seed)
    design = design_for(SHAPE)

    def measured(models) -> list[float]:
        true = np.array([cost(widths, design.ffn_widths) for widths in models])
        noisy = {
            "uniform": draw.uniform(0.1, 10.0, size=len(true)),
            "reversed": 1.0 / true,
            "heavy tails": true * np.exp(draw.standard_cauchy(size=len(true)).clip(-9, 9)),
            "one absurd": np.where(np.arange(len(true)) == seed, 1e6, true),
            "all alike": np.full(len(true), 0.5),
        }
        return noisy[noise].tolist()

    models, times = list(design.models), measured(design.models)
    prices = fit_prices(models, times, ffn_widths=design.ffn_widths)
    for refit in range(2):
        chosen = solutions(prices, SHAPE, ffn_widths=design.ffn_widths, count=14, seed=refit)
        models, times = models + chosen, times + measured(chosen)
        prices = fit_prices(models, times, ffn_widths=design.ffn_widths)
    chosen = solutions(prices, SHAPE, ffn_widths=design.ffn_widths, count=14, seed=2)
    table = PriceTable(
        prices.attention_ms,
        tuple(np.interp(range(SHAPE.ffn + 1), design.ffn_widths, prices.ffn_ms)),
        prices.fixed_ms,
    )
    found = corrected(prices, [table.total(widths) for widths in chosen], measured(chosen))
    for blocks in (found.attention_ms, found.ffn_ms):
        assert blocks[0] >= 0
        assert all(narrow <= wide for narrow, wide in pairwise(blocks))
    assert found.fixed_ms >= 0


@pytest.mark.parametrize("times", [[3.0, 2.0, 1.0, 0.5], [1.0, 100.0, 1e4, 1e6], [1e-3, 1e-3, 1e-3, 1e-3]])
def test_a_correction_that_nothing_explains_keeps_prices_plausible(times: list[float]):
    """On 0.3.0 the first gives a negative factor: wider blocks cost less."""
    prices = BlockPrices(tuple(ATTENTION), tuple(FFN), FIXED)
    found = corrected(prices, [1.0, 2.0, 3.0, 4.0], times)
    factor = found.attention_ms[-1] / ATTENTION[-1]
    assert 0.5 <= factor <= 2.0
    np.testing.assert_allclose(found.ffn_ms, factor * FFN)


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
