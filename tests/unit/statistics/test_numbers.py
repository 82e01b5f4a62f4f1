"""Scores of predicted numbers."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from secateur.statistics.numbers import NUMBERS, explained

DRAW = np.random.default_rng(0)
TRUTH = DRAW.normal(50.0, 3.0, 300).round(1)
SAID = TRUTH + DRAW.normal(0.3, 1.5, 300)


def test_scores_agree_with_others() -> None:
    found = NUMBERS.of(TRUTH, SAID)
    assert found["r2"] == pytest.approx(r2_score(TRUTH, SAID))
    assert found["spearman"] == pytest.approx(spearmanr(TRUTH, SAID).statistic)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(TRUTH, SAID))
    assert found["mae"] == pytest.approx(mean_absolute_error(TRUTH, SAID))


def test_r2_and_ranks_have_no_unit_and_errors_have() -> None:
    found, scaled = NUMBERS.of(TRUTH, SAID), NUMBERS.of(1000.0 * TRUTH - 7.0, 1000.0 * SAID - 7.0)
    assert scaled["r2"] == pytest.approx(found["r2"]) and scaled["spearman"] == pytest.approx(found["spearman"])
    assert scaled["rmse"] == pytest.approx(1000.0 * found["rmse"])


def test_equal_numbers_have_no_variance_to_explain() -> None:
    same = np.full(4, 2.0)
    assert NUMBERS.of(same, same)["r2"] == 1.0 and NUMBERS.of(same, same + 1.0)["r2"] == 0.0
    assert NUMBERS.of(TRUTH, np.full(300, TRUTH.mean()))["r2"] == pytest.approx(0.0)
    assert NUMBERS.of(TRUTH, np.full(300, 1.0))["spearman"] == 0.0
    assert explained(3.0, about_mean=2.0) == -0.5


def test_resampled_scores_surround_the_score_and_pairs_know_their_likeness() -> None:
    drawn = NUMBERS.resampled(TRUTH, SAID, samples=400, seed=1)
    for name, value in NUMBERS.of(TRUTH, SAID).items():
        assert np.quantile(drawn[name], 0.025) < value < np.quantile(drawn[name], 0.975)
    near = SAID + DRAW.normal(0.0, 0.1, 300)
    change = NUMBERS.change(TRUTH, before=SAID, after=near, samples=400, seed=1)
    assert change.std() < 0.3 * drawn["r2"].std()
    assert not NUMBERS.change(TRUTH, before=SAID, after=SAID, samples=100, seed=1).any()
