from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.budget.goal import Goal, density_after, goal_of, promise_after, target_of
from secateur.config.prune import Budget, PruneSection, Round, Schedule
from tests.unit.pruning.prune_settings import prune_settings

SHAPES = ("linear", "geometric", "cubic")


def test_worked_by_hand():
    assert density_after(1, steps=2, final=0.36, shape="linear") == pytest.approx(0.68)
    assert density_after(1, steps=2, final=0.36, shape="geometric") == pytest.approx(0.6)
    # sparsity 0.64 * (1 - (1/2)^3) = 0.56
    assert density_after(1, steps=2, final=0.36, shape="cubic") == pytest.approx(0.44)


@pytest.mark.parametrize("shape", SHAPES)
@given(steps=st.integers(1, 12), final=st.floats(0.01, 1.0))
def test_falls_to_exactly_the_budget_and_stays(shape, steps, final):
    densities = [density_after(step, steps=steps, final=final, shape=shape) for step in range(1, steps + 3)]
    assert all(earlier >= later - 1e-12 for earlier, later in pairwise(densities))
    assert densities[steps - 1 :] == [final] * 3
    assert all(final - 1e-12 <= density <= 1.0 for density in densities)


def test_a_round_may_name_its_own_budget():
    schedule = Schedule(shape="linear", steps=2)
    assert target_of(1, round_=Round(prev="baseline", budget=0.9), schedule=schedule, final=0.4) == 0.9
    assert target_of(1, round_=Round(prev="baseline"), schedule=schedule, final=0.4) == pytest.approx(0.7)


def test_promises_grow_to_the_whole_one_and_stay():
    assert [promise_after(step, steps=3, final=0.02, shape="geometric") for step in (1, 2, 3, 4)] == [
        0.005, 0.01, 0.02, 0.02,
    ]  # fmt: skip
    assert promise_after(1, steps=4, final=0.02, shape="linear") == pytest.approx(0.005)
    assert promise_after(1, steps=2, final=0.02, shape="cubic") == pytest.approx(0.0175)
    for shape in SHAPES:
        assert promise_after(3, steps=3, final=0.02, shape=shape) == pytest.approx(0.02)


def test_the_goal_of_a_round():
    promises = prune_settings(budget=Budget(max_drop=0.02))
    assert goal_of(1, round_=Round(prev="baseline"), settings=promises) == Goal(max_drop=0.005)
    assert goal_of(1, round_=Round(prev="baseline", max_drop=0.5), settings=promises) == Goal(max_drop=0.5)
    fractions = prune_settings(budget=Budget(sparsity=0.75), schedule=Schedule(shape="linear", steps=1))
    goal = goal_of(1, round_=Round(prev="baseline"), settings=fractions)
    assert (goal, goal.asked("sparsity")) == (Goal(target=0.25), {"sparsity": 0.75})
    assert Goal(max_drop=0.01).asked("latency") == {"max_drop": 0.01}


def test_a_student_has_one_size_and_may_promise_whatever_is_asked_of_cuts():
    fractions = prune_settings(budget=Budget(macs=0.5))
    student = Round(prev="baseline", student="static", max_drop=0.04)
    assert goal_of(4, round_=student, settings=fractions) == Goal(max_drop=0.04)
    assert (
        PruneSection(budget={"macs": 0.5}, rounds={"r1": Round(prev="baseline"), "r2": student}).rounds["r2"] == student
    )
