"""Disagreements of the traffic as a condition of the gate."""

import pytest

from secateur.config.promote import PromoteShadowSection
from secateur.gate.condition import UNKNOWN
from secateur.gate.shadow import Beside, shadow

LIMITED = PromoteShadowSection(max_disagreement=0.05)


def test_what_is_neither_asked_nor_found_is_no_condition() -> None:
    assert shadow(None, PromoteShadowSection(), level=0.05) is None


def test_without_a_limit_what_was_found_is_told() -> None:
    told = shadow(Beside(10, 4), PromoteShadowSection(), level=0.05)
    assert told is not None
    assert (told.passed, told.asked) == (True, "no limit")
    assert told.reason.startswith("4 of 10 texts of the traffic were answered differently, ")


@pytest.mark.parametrize("beside", [None, Beside(0, 0), Beside(999, 0)])
def test_too_few_texts_pass_nothing_and_say_what_brings_more(beside: Beside | None) -> None:
    held = shadow(beside, LIMITED, level=0.05)
    assert held is not None
    assert (held.passed, held.found) == (False, UNKNOWN)
    assert "`secateur serve models:/NAME@champion --live --shadow models:/NAME@challenger` asks more" in held.reason


@pytest.mark.parametrize(("disagreed", "passed"), [(38, True), (40, False), (50, False), (400, False)])
def test_the_upper_bound_decides_and_not_the_share(disagreed: int, passed: bool) -> None:
    """Of 1 000 texts, 39 and more may come of a challenger that disagrees on 5 %: Wilson's bound by hand is 0.0503."""
    judged = shadow(Beside(1000, disagreed), LIMITED, level=0.05)
    assert judged is not None
    assert judged.passed is passed
    assert judged.values["high"] > disagreed / 1000
