import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from secateur.budget.allocation import Limits
from secateur.budget.error_curves import Curve, block_curves_of, masks_at
from secateur.budget.scores import Scores
from secateur.families.structures import Widths

ALL = Limits(structures=("heads", "ffn"), min_heads=0, ffn_multiple=2, min_neurons=0)
SCORES = Scores(heads=(torch.tensor([3.0, 1.0, 2.0]),), ffn=(torch.tensor([5.0, 1.0, 1.0, 2.0, 4.0]),))


def test_worked_by_hand():
    curves = block_curves_of(SCORES, ALL)
    (heads,), (ffn,) = curves.heads, curves.ffn
    assert heads.order.tolist() == [1, 2, 0]
    assert (heads.kept, heads.errors) == ((3, 2, 1, 0), (0.0, 1.0, 3.0, 6.0))
    # Of the two ones, the higher index goes first; the first step goes down to a multiple.
    assert ffn.order.tolist() == [2, 1, 3, 4, 0]
    assert (ffn.kept, ffn.errors) == ((5, 4, 2, 0), (0.0, 1.0, 4.0, 13.0))
    widths = Widths(heads=(1,), ffn=(4,), head_dim=8)
    masks = masks_at(curves, widths)
    assert masks.heads[0].tolist() == [True, False, False]
    assert masks.ffn[0].tolist() == [True, True, False, True, True]
    assert masks.widths(8) == widths
    assert curves.error(widths) == 4.0


@pytest.mark.parametrize(("min_neurons", "last"), [(0, 0), (1, 2), (2, 2), (3, 4), (5, 5)])
def test_the_least_number_of_neurons_is_rounded_up_to_a_multiple(min_neurons: int, last: int):
    limits = Limits(structures=("heads", "ffn"), min_heads=1, ffn_multiple=2, min_neurons=min_neurons)
    curves = block_curves_of(SCORES, limits)
    assert curves.ffn[0].kept[-1] == last
    assert curves.heads[0].kept == (3, 2, 1)


def test_what_may_not_go_has_one_width():
    curves = block_curves_of(SCORES, Limits(structures=("heads",), min_heads=0, ffn_multiple=2))
    assert curves.ffn[0].kept == (5,)


def test_infinity_protects():
    scores = Scores(heads=(torch.tensor([1.0, math.inf, 2.0]),), ffn=(torch.tensor([math.inf] * 3 + [1.0, 1.0]),))
    curves = block_curves_of(scores, ALL)
    assert curves.heads[0].kept == (3, 2, 1)
    assert curves.ffn[0].kept == (5, 4)
    assert all(math.isfinite(error) for curve in (*curves.heads, *curves.ffn) for error in curve.errors)
    assert masks_at(curves, Widths(heads=(1,), ffn=(4,), head_dim=1)).heads[0].tolist() == [False, True, False]


def test_a_block_that_is_gone_already_stays_gone():
    curves = block_curves_of(Scores(heads=(torch.zeros(0),), ffn=(torch.zeros(0),)), ALL)
    assert curves.heads[0].kept == curves.ffn[0].kept == (0,)


def test_a_width_between_two_levels_is_refused():
    curves = block_curves_of(SCORES, ALL)
    with pytest.raises(ValueError, match=r"3 units cannot stay; the widths are \[5, 4, 2, 0\]"):
        masks_at(curves, Widths(heads=(1,), ffn=(3,), head_dim=1))
    with pytest.raises(ValueError, match=r"starts at that width"):
        Curve(order=torch.arange(3), kept=(2, 1), errors=(0.0, 1.0))


@given(
    values=st.lists(st.floats(0, 100) | st.just(math.inf), min_size=1, max_size=20),
    multiple=st.integers(1, 8),
    least=st.integers(0, 10),
)
def test_curves_rise_and_respect_the_limits(values: list[float], multiple: int, least: int):
    limits = Limits(structures=("heads", "ffn"), min_heads=least, ffn_multiple=multiple, min_neurons=least)
    tensor = torch.tensor(values)
    curves = block_curves_of(Scores(heads=(tensor,), ffn=(tensor,)), limits)
    for curve, step in ((curves.heads[0], 1), (curves.ffn[0], multiple)):
        assert curve.kept[0] == len(values)
        assert curve.errors[0] == 0.0
        assert list(curve.errors) == sorted(curve.errors)
        assert all(count % step == 0 for count in curve.kept[1:])
        assert curve.kept[-1] >= min(len(values), max(least, sum(map(math.isinf, values))))
        assert math.isfinite(curve.errors[-1])
