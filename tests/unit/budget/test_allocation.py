import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.budget.allocation import Limits, achieved, check_reachable, choose, smallest
from secateur.budget.prices import Prices, PriceTable
from secateur.budget.scores import Scores
from secateur.errors import BudgetError
from secateur.families.structures import Widths

PRICES = Prices(head=40, neuron=3, fixed=0)
DENSE = Widths(heads=(4, 4), ffn=(20, 20), head_dim=4)
BOTH = Limits(structures=("heads", "ffn"), min_heads=1, ffn_multiple=1)


def scores_from(seed: int, *, ties: bool, widths: Widths = DENSE) -> Scores:
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int) -> torch.Tensor:
        values = torch.rand(count, generator=generator)
        return (values * 3).floor() if ties else values

    return Scores(heads=tuple(map(draw, widths.heads)), ffn=tuple(map(draw, widths.ffn)))


def kept(masks) -> list[bool]:
    return [bool(flag) for mask in (*masks.heads, *masks.ffn) for flag in mask]


@settings(deadline=None)
@given(seed=st.integers(0, 50), ties=st.booleans(), fraction=st.floats(0.3, 1.0))
def test_the_budget_is_met_and_no_more_goes_than_needed(seed, ties, fraction):
    masks = choose(scores_from(seed, ties=ties), fraction=fraction, dense=DENSE, prices=PRICES, limits=BOTH)
    left = achieved(masks.widths(4), dense=DENSE, prices=PRICES)
    assert left <= fraction + 1e-9
    assert left + PRICES.head / PRICES.total(DENSE) > fraction  # one structure more would break the budget


@settings(deadline=None)
@given(seed=st.integers(0, 50), ties=st.booleans(), low=st.floats(0.3, 1.0), high=st.floats(0.3, 1.0))
def test_a_lower_budget_keeps_a_subset(seed, ties, low, high):
    low, high = sorted((low, high))
    scores = scores_from(seed, ties=ties)
    less, more = (choose(scores, fraction=f, dense=DENSE, prices=PRICES, limits=BOTH) for f in (low, high))
    assert all(big or not small for small, big in zip(kept(less), kept(more), strict=True))


@settings(deadline=None)
@given(seed=st.integers(0, 50), fraction=st.floats(0.3, 1.0))
def test_the_order_of_units_does_not_matter(seed, fraction):
    scores = scores_from(seed, ties=False)
    order = [torch.randperm(20, generator=torch.Generator().manual_seed(seed + 1)) for _ in range(2)]
    moved = Scores(heads=scores.heads, ffn=tuple(v[o] for v, o in zip(scores.ffn, order, strict=True)))
    first = choose(scores, fraction=fraction, dense=DENSE, prices=PRICES, limits=BOTH)
    second = choose(moved, fraction=fraction, dense=DENSE, prices=PRICES, limits=BOTH)
    for mask, other, o in zip(first.ffn, second.ffn, order, strict=True):
        assert torch.equal(mask[o], other)


def test_the_whole_budget_keeps_everything():
    masks = choose(scores_from(0, ties=True), fraction=1.0, dense=DENSE, prices=PRICES, limits=BOTH)
    assert all(kept(masks))


def test_of_equal_units_exactly_half_goes_and_the_first_ones_stay():
    # A well-known reference removes 51 of 100 here.
    widths = Widths(heads=(1,), ffn=(100,), head_dim=4)
    scores = Scores(heads=(torch.ones(1),), ffn=(torch.ones(100),))
    limits = Limits(structures=("ffn",), min_heads=1, ffn_multiple=1)
    masks = choose(scores, fraction=0.5, dense=widths, prices=Prices(head=0, neuron=1, fixed=0), limits=limits)
    assert masks.ffn[0].tolist() == [True] * 50 + [False] * 50


def test_neurons_stay_in_multiples_and_heads_above_the_minimum():
    widths = Widths(heads=(4, 4), ffn=(21, 21), head_dim=4)
    limits = Limits(structures=("heads", "ffn"), min_heads=2, ffn_multiple=8)
    for fraction in (0.9, 0.7, 0.5):
        scores = scores_from(3, ties=False, widths=widths)
        left = choose(scores, fraction=fraction, dense=widths, prices=PRICES, limits=limits).widths(4)
        assert all(count in (21, 16, 8) for count in left.ffn)
        assert all(count >= 2 for count in left.heads)


def test_only_the_asked_structures_go():
    limits = Limits(structures=("ffn",), min_heads=1, ffn_multiple=1)
    masks = choose(scores_from(0, ties=False), fraction=0.9, dense=DENSE, prices=PRICES, limits=limits)
    assert masks.widths(4).heads == DENSE.heads
    assert sum(masks.widths(4).ffn) < 40


def test_fractions_are_of_dense_not_of_the_model_as_it_is():
    current = Widths(heads=(2, 2), ffn=(10, 10), head_dim=4)  # half of dense already
    masks = choose(scores_from(0, ties=False, widths=current), fraction=0.5, dense=DENSE, prices=PRICES, limits=BOTH)
    assert all(kept(masks))


def test_an_unreachable_budget_names_the_nearest_one():
    limits = Limits(structures=("heads",), min_heads=1, ffn_multiple=1)
    # 2 heads of 40 and 40 neurons of 3 are left of 440: 0.4546 rounded up
    with pytest.raises(BudgetError, match=r"macs=0\.1 is not reachable.*0\.4545 of dense; ask for 0\.4546 or more"):
        check_reachable(fraction=0.1, current=DENSE, dense=DENSE, prices=PRICES, limits=limits)
    check_reachable(fraction=0.4546, current=DENSE, dense=DENSE, prices=PRICES, limits=limits)


def test_smallest_never_grows():
    limits = Limits(structures=("heads", "ffn"), min_heads=8, ffn_multiple=64)
    assert smallest(DENSE, limits=limits) == DENSE


@settings(deadline=None)
@given(seed=st.integers(0, 50), low=st.floats(0.0, 1.0), high=st.floats(0.0, 1.0))
def test_whole_blocks_may_go_and_a_lower_budget_still_keeps_a_subset(seed, low, high):
    low, high = sorted((low, high))
    limits = Limits(structures=("heads", "ffn"), min_heads=0, ffn_multiple=8, min_neurons=0)
    scores = scores_from(seed, ties=True)
    less, more = (choose(scores, fraction=f, dense=DENSE, prices=PRICES, limits=limits) for f in (low, high))
    assert all(big or not small for small, big in zip(kept(less), kept(more), strict=True))
    assert achieved(less.widths(4), dense=DENSE, prices=PRICES) <= low + 1e-9
    assert not any(kept(choose(scores, fraction=0.0, dense=DENSE, prices=PRICES, limits=limits)))


def test_protected_structures_stay_and_make_a_budget_unreachable():
    scores = scores_from(0, ties=False)
    scores.heads[0][1] = scores.ffn[1][7] = math.inf
    limits = Limits(structures=("heads", "ffn"), min_heads=0, ffn_multiple=4, min_neurons=0)
    masks = choose(scores, fraction=0.12, dense=DENSE, prices=PRICES, limits=limits)
    assert masks.widths(4) == Widths(heads=(1, 0), ffn=(0, 4), head_dim=4)
    assert bool(masks.heads[0][1])
    assert bool(masks.ffn[1][7])
    # a head of 40 and four neurons of 3 are left of 440
    wanted = r"prune\.budget\.macs=0\.1 .*prune\.multipliers protect, the smallest model is 0\.1182 .*ask for 0\.1182"
    with pytest.raises(BudgetError, match=wanted):
        choose(scores, fraction=0.1, dense=DENSE, prices=PRICES, limits=limits)


def test_an_unreachable_sparsity_names_what_can_go():
    prices = Prices(head=40, neuron=3, fixed=0, kind="sparsity")
    with pytest.raises(
        BudgetError, match=r"budget\.sparsity=0\.9 is not.*at most 0\.8045 of .*ask for 0\.8045 or less"
    ):
        check_reachable(fraction=0.1, current=DENSE, dense=DENSE, prices=prices, limits=BOTH)


def test_an_unreachable_latency_names_the_runtime():
    prices = PriceTable(heads=(0.0, 1.0), ffn=(0.0, 1.0), fixed=0.5, kind="latency", runtime="onnx-int8")
    dense = Widths(heads=(1,), ffn=(1,), head_dim=4)
    limits = Limits(structures=("heads", "ffn"), min_heads=0, ffn_multiple=1, min_neurons=0)
    wanted = (
        r"prune\.budget\.latency=0\.1 is not reachable: with structures=heads\+ffn, .*"
        r"the smallest structure left runs at 0\.2000 of dense on onnx-int8; ask for 0\.2 or more"
    )
    with pytest.raises(BudgetError, match=wanted):
        check_reachable(fraction=0.1, current=dense, dense=dense, prices=prices, limits=limits)
