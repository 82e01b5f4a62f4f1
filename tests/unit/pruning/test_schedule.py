from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.config.prune import Round, Schedule
from secateur.pruning.schedule import density_after, target_of

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
