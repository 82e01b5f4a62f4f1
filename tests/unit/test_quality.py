import pytest

from secateur.quality import MACRO_F1, PERPLEXITY


def test_better_means_higher_or_lower():
    assert MACRO_F1.is_better(0.8, 0.7)
    assert not MACRO_F1.is_better(0.7, 0.7)
    assert PERPLEXITY.is_better(30.0, 31.0)
    assert not PERPLEXITY.is_better(31.0, 31.0)


def test_a_score_may_fall_and_a_perplexity_may_grow_by_its_share():
    assert MACRO_F1.floor(0.875, max_drop=0.125) == 0.75
    assert PERPLEXITY.floor(60.0, max_drop=0.05) == pytest.approx(63.0)


def test_the_floor_itself_is_allowed_and_nan_is_not():
    assert MACRO_F1.holds(0.75, floor=0.75)
    assert not MACRO_F1.holds(0.7499, floor=0.75)
    assert PERPLEXITY.holds(63.0, floor=63.0)
    assert not PERPLEXITY.holds(63.1, floor=63.0)
    assert not any(measure.holds(float("nan"), floor=1.0) for measure in (MACRO_F1, PERPLEXITY))
