import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.errors import BudgetError, ModelError
from secateur.pruning.weights.ranking import Pattern, choose, lowest, may_go

FEW = settings(max_examples=40, deadline=None)
VALUES = st.sampled_from([0.0, 0.5, 1.0, 2.0])  # ties everywhere
SHAPES = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9)), min_size=1, max_size=3)


@st.composite
def score_maps(draw):
    return {
        f"m{place}": torch.tensor(draw(st.lists(VALUES, min_size=rows * columns, max_size=rows * columns))).view(
            rows, columns
        )
        for place, (rows, columns) in enumerate(draw(SHAPES))
    }


def pick(scores, count, *, comparison="model", factors=None, gone=None, pattern=None):
    return choose(
        scores,
        num_removed=count,
        comparison=comparison,
        gone=gone or {name: torch.zeros_like(values, dtype=torch.bool) for name, values in scores.items()},
        factors=dict.fromkeys(scores, 1.0) | (factors or {}),
        pattern=Pattern.named(pattern),
    )


def removed(masks):
    return torch.cat([~mask.flatten() for mask in masks.matrices.values()])


@FEW
@given(score_maps(), st.data(), st.sampled_from(["model", "matrix", "row"]))
def test_the_count_is_exact_and_a_higher_one_takes_a_superset(scores, data, comparison):
    total = sum(values.numel() for values in scores.values())
    fewer, more = sorted(data.draw(st.tuples(st.integers(0, total), st.integers(0, total))))
    few, many = pick(scores, fewer, comparison=comparison), pick(scores, more, comparison=comparison)
    assert (few.num_removed, many.num_removed) == (fewer, more)
    assert not bool((removed(few) & ~removed(many)).any())


@FEW
@given(score_maps(), st.data())
def test_a_row_loses_the_share_of_every_other_row(scores, data):
    total = sum(values.numel() for values in scores.values())
    count = data.draw(st.integers(0, total))
    masks = pick(scores, count, comparison="row")
    num_rows = sum(map(len, scores.values()))
    for values, mask in zip(scores.values(), masks.matrices.values(), strict=True):
        losses = (~mask).sum(dim=1).double()
        # Each row is off by half a weight at most; to meet the count, the share is by half a weight of a mean row.
        most = 0.5 + 0.5 * values.shape[1] * num_rows / total + 1e-9
        assert float((losses - count / total * values.shape[1]).abs().max()) <= most
        for row, kept in zip(values, mask, strict=True):
            if bool(kept.any()) and not bool(kept.all()):
                assert float(row[~kept].max()) <= float(row[kept].min())


@FEW
@given(st.lists(VALUES, min_size=1, max_size=30), st.data())
def test_of_equal_values_the_later_goes_first(values, data):
    count = data.draw(st.integers(0, len(values)))
    order = sorted(range(len(values)), key=lambda place: (values[place], -place))
    assert lowest(torch.tensor(values), count).nonzero().flatten().tolist() == sorted(order[:count])


def test_what_is_gone_goes_first_and_counts():
    scores = {"a": torch.tensor([[9.0, 1.0, 2.0, 3.0]])}
    gone = {"a": torch.tensor([[True, False, False, False]])}
    assert removed(pick(scores, 2, gone=gone)).tolist() == [True, True, False, False]
    assert removed(pick(scores, 0, gone=gone)).tolist() == [True, False, False, False]


@pytest.mark.parametrize("comparison", ["model", "matrix", "row"])
def test_factors_of_one_and_a_common_factor_change_nothing(comparison):
    torch.manual_seed(0)
    scores = {"a": torch.rand(6, 8), "b": torch.rand(4, 5)}
    plain = pick(scores, 30, comparison=comparison)
    for factor in (1.0, 8.0, 0.25):
        other = pick(scores, 30, comparison=comparison, factors=dict.fromkeys(scores, factor))
        assert torch.equal(removed(plain), removed(other))


@pytest.mark.parametrize("comparison", ["model", "matrix", "row"])
def test_zero_goes_first_in_the_order_of_its_scores_and_infinity_stays(comparison):
    torch.manual_seed(0)
    scores = {"a": torch.rand(4, 4), "b": torch.rand(4, 4), "c": torch.rand(4, 4)}
    masks = pick(scores, 20, comparison=comparison, factors={"b": 0.0, "c": math.inf})
    assert [int((~mask).sum()) for mask in masks.matrices.values()] == [4, 16, 0]
    masks = pick(scores, 8, comparison=comparison, factors={"b": 0.0, "c": math.inf})
    assert [int((~mask).sum()) for mask in masks.matrices.values()] == [0, 8, 0]
    if comparison != "row":
        assert float(scores["b"][~masks.matrices["b"]].max()) <= float(scores["b"][masks.matrices["b"]].min())


def test_within_a_matrix_the_share_that_stays_is_proportional_to_the_factor():
    scores = {"a": torch.rand(20, 20), "b": torch.rand(20, 20)}
    masks = pick(scores, 500, comparison="matrix", factors={"b": 0.5})
    kept = [int(mask.sum()) for mask in masks.matrices.values()]
    assert sum(kept) == 300
    assert kept == pytest.approx([200, 100], abs=1)


def test_protection_names_the_sparsity_that_can_be_reached():
    scores = {"a": torch.rand(2, 4), "b": torch.rand(2, 2)}
    with pytest.raises(
        BudgetError, match=r"0\.75 is not reachable: multipliers of \.inf let go of 8 of 12.*0\.6666 or"
    ):
        pick(scores, 9, factors={"b": math.inf})
    with pytest.raises(BudgetError, match=r"the pattern 2:4 let go of 4 of 8 weights; ask for 0\.5000 or less"):
        pick({"a": torch.rand(2, 4)}, 5, pattern="2:4")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_scores_that_are_not_finite_are_named(value):
    with pytest.raises(ModelError, match="the scores of b are not finite"):
        pick({"a": torch.ones(1, 2), "b": torch.tensor([[1.0, value]])}, 1)


@FEW
@given(st.integers(1, 3), st.integers(1, 19), st.sampled_from(["2:4", "4:8"]), st.integers(0, 9))
def test_a_pattern_holds_for_every_width(rows, columns, name, seed):
    stay, group = map(int, name.split(":"))
    scores = torch.from_numpy(np.random.default_rng(seed).integers(0, 3, size=(rows, columns))).float()
    masks = pick({"a": scores}, round(0.5 * scores.numel()), comparison="row", pattern=name)
    for row in masks.matrices["a"].tolist():
        for start in range(0, columns, group):
            own = row[start : start + group]
            # A shorter last group keeps as many as a full one: it is a full one with zeros behind it.
            assert sum(own) == min(stay, len(own))
    fewer = pick({"a": scores}, rows * columns // 4, comparison="row", pattern=name)
    assert not bool((removed(fewer) & ~removed(masks)).any())


def test_a_pattern_lets_the_lowest_of_each_group_go():
    scores = torch.tensor([[4.0, 3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 5.0, 6.0, 7.0]])
    expected = [[False, False, True, True, False, False, True, True, True, False, False]]
    assert may_go(scores, Pattern(2, 4)).tolist() == expected
