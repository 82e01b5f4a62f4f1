"""Scores of predicted grades, and grades as targets."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, mean_absolute_error

from secateur.data.number_targets import grade_targets
from secateur.errors import DataError
from secateur.kinds.registry import kind_named
from secateur.readers.grades import grades_in, joined
from secateur.statistics.grades import GRADES

DRAW = np.random.default_rng(0)
TRUTH = DRAW.choice(5, 400, p=[0.05, 0.1, 0.15, 0.3, 0.4]).astype(np.float64)
SAID = np.clip(TRUTH + DRAW.integers(-1, 2, 400), 0, 4)


def test_scores_agree_with_others() -> None:
    found = GRADES.of(TRUTH, SAID)
    assert found["qwk"] == pytest.approx(cohen_kappa_score(TRUTH, SAID, weights="quadratic"))
    assert found["accuracy"] == pytest.approx(accuracy_score(TRUTH, SAID))
    assert found["mae"] == pytest.approx(mean_absolute_error(TRUTH, SAID))
    of_each = [np.abs(SAID - TRUTH)[grade == TRUTH].mean() for grade in range(5)]
    assert found["macro_mae"] == pytest.approx(np.mean(of_each))


def test_one_grade_for_all_is_chance_and_the_true_ones_are_all() -> None:
    assert GRADES.of(TRUTH, np.full(400, 3.0))["qwk"] == pytest.approx(0.0)
    assert GRADES.of(TRUTH, TRUTH)["qwk"] == 1.0 == GRADES.of(np.ones(3), np.ones(3))["qwk"]


def test_resampled_scores_surround_the_score() -> None:
    drawn = GRADES.resampled(TRUTH, SAID, samples=400, seed=1)
    for name, value in GRADES.of(TRUTH, SAID).items():
        assert np.quantile(drawn[name], 0.025) < value < np.quantile(drawn[name], 0.975)
    assert not GRADES.change(TRUTH, before=SAID, after=SAID, samples=100, seed=1).any()


def test_grades_are_numbers_in_their_order() -> None:
    targets = grade_targets(["10", "2", "1.5", "2", "10", "1.5"])
    assert targets.names == ["1.5", "2", "10"] and targets.values.tolist() == [2.0, 1.0, 0.0, 1.0, 2.0, 0.0]
    with pytest.raises(DataError, match="all 3 rows have the grade 2"):
        grade_targets(["2"] * 3)
    with pytest.raises(DataError, match=r"40 different numbers; grades are 30 at most, and run\.task=regression"):
        grade_targets([str(number) for number in range(40)])


def test_a_model_says_its_grades_by_the_name_of_its_output() -> None:
    assert grades_in({0: joined(["1", "2", "3"])}) == ("1", "2", "3")
    assert grades_in({0: "number"}) == grades_in({0: "1 < 2", 1: "3"}) == ()
    kind = kind_named("ordinal")
    told = kind.told(np.array([-3.0, 0.4, 0.6, 1.7, 9.0]), names=["1", "2", "3"])  # type: ignore[attr-defined]
    assert told.tolist() == [0.0, 0.0, 1.0, 2.0, 2.0]
