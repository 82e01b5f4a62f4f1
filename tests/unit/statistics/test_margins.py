"""What so many rows can show: closed forms, and that plan and gate agree."""

import numpy as np
import pytest
from scipy.stats import norm

from secateur.statistics.discordant import Discordant, lowest_change
from secateur.statistics.margins import effective_rows, margin_of, passes, provable, rows_for


def test_balanced_rows_count_in_full_and_a_rare_label_decides() -> None:
    assert effective_rows([50, 50]) == pytest.approx(100)
    assert effective_rows([30] * 40) == pytest.approx(1200)
    assert effective_rows([490, 10]) == pytest.approx(4 / (1 / 490 + 1 / 10))
    assert effective_rows([100, 0]) == 100
    assert effective_rows([]) == 0.0


@pytest.mark.parametrize("level", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("margin", [0.01, 0.02, 0.03, 0.1])
def test_the_rows_that_a_margin_takes_show_it_and_a_few_less_do_not(margin: float, level: float) -> None:
    rows = rows_for(margin, level=level)
    assert rows == np.ceil((norm.isf(level) + norm.ppf(0.8)) ** 2 * 0.1 / margin**2) or margin == 0.1
    assert passes(rows, margin, level=level) >= 0.8 > passes(0.97 * rows, margin, level=level)
    assert provable(rows, level=level) in (pytest.approx(margin), pytest.approx(margin - 0.001))
    assert provable(0.9 * rows, level=level) > margin


def test_equal_answers_on_the_fewest_rows_just_pass() -> None:
    rows = rows_for(0.02, level=0.05, changed=0.0)
    assert rows == 133
    assert (
        lowest_change(Discordant(rows, 0, 0), level=0.05)
        > -0.02
        > lowest_change(Discordant(rows - 1, 0, 0), level=0.05)
    )
    assert passes(rows - 1, 0.02, level=0.05) == 0.0 < passes(rows, 0.02, level=0.05)


def test_the_plan_is_what_the_bound_does() -> None:
    rows, draw = 1500, np.random.default_rng(0)
    margin = provable(rows, level=0.05)
    assert margin == 0.021
    counts = draw.multinomial(rows, [0.05, 0.05, 0.9], size=1000)
    passed = [lowest_change(Discordant(rows, lost, won), level=0.05) > -margin for lost, won, _ in counts.tolist()]
    assert np.mean(passed) == pytest.approx(passes(rows, margin, level=0.05), abs=0.04)


def test_auto_is_the_usual_margin_or_what_the_rows_can_show() -> None:
    assert margin_of("auto", [2000, 2000], level=0.05) == 0.02
    assert margin_of("auto", [60, 60], level=0.05) == 0.072
    assert margin_of("auto", [110, 10], level=0.05) > 0.12
    assert margin_of(0.0, [60, 60], level=0.05) == 0.0
    assert margin_of("auto", [], level=0.05) == 1.0
    assert passes(1000, 0.0, level=0.05) == 0.0


@pytest.mark.parametrize("rows", [3, 10, 60])
def test_what_is_said_to_be_shown_can_be_shown(rows: int) -> None:
    for level in (0.001, 0.05):
        assert lowest_change(Discordant(rows, 0, 0), level=level) > -provable(rows, level=level)
