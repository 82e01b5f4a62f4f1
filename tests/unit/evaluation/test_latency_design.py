from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from secateur.evaluation.latency_design import design_for, fit_prices
from secateur.evaluation.latency_table import Shape
from secateur.models.structures import Widths

SHAPE = Shape("bert", num_layers=6, num_heads=12, head_dim=32, hidden_size=384, ffn=1536, kept_hidden_size=384)


def cost(widths: Widths, *, attention: np.ndarray, ffn: np.ndarray, fixed: float) -> float:
    return fixed + sum(attention[count] for count in widths.heads) + sum(ffn[count // 64] for count in widths.ffn)


def test_prices_that_add_up_are_found_exactly():
    design = design_for(SHAPE)
    draw = np.random.default_rng(0)
    attention = 0.03 + np.concatenate([[0], draw.uniform(0.0, 0.1, size=12).cumsum()])
    ffn = 0.03 + np.concatenate([[0], draw.uniform(0.0, 0.05, size=24).cumsum()])
    truth = {"attention": attention, "ffn": ffn, "fixed": 0.2}
    found = fit_prices(design.fitted, [cost(widths, **truth) for widths in design.fitted], ffn_widths=design.ffn_widths)
    np.testing.assert_allclose(found.attention_ms, attention, rtol=1e-6)
    np.testing.assert_allclose(found.ffn_ms, ffn, rtol=1e-6)
    assert found.fixed_ms == pytest.approx(0.2)


def test_wider_is_never_cheaper_whatever_the_noise():
    design = design_for(SHAPE)
    times = np.random.default_rng(1).uniform(1.0, 2.0, size=len(design.fitted))
    found = fit_prices(design.fitted, times.tolist(), ffn_widths=design.ffn_widths)
    for prices in (found.attention_ms, found.ffn_ms):
        assert all(narrow <= wide for narrow, wide in pairwise(prices))
        assert prices[0] >= 0
    assert found.fixed_ms >= 0


def test_the_design_times_every_width_and_keeps_its_checks_apart():
    design = design_for(SHAPE)
    assert design.fitted[0] == SHAPE.dense
    assert {count for widths in design.fitted for count in widths.heads} == set(range(13))
    assert (
        {count for widths in design.fitted for count in widths.ffn} == set(range(0, 1537, 64)) == {*design.ffn_widths}
    )
    assert not set(design.checks) & set(design.fitted)
    assert design_for(SHAPE) == design


def test_large_models_have_no_more_widths_and_odd_ones_end_at_theirs():
    assert design_for(replace(SHAPE, ffn=4096)).ffn_widths[:3] == (0, 192, 384)
    assert len(design_for(replace(SHAPE, ffn=4096)).ffn_widths) <= 25
    assert design_for(replace(SHAPE, ffn=100)).ffn_widths == (0, 64, 100)
