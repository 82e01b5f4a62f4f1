"""Paired tests: agreement with closed forms and scipy, and what they do at the edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from sklearn.metrics import f1_score, recall_score

from secateur.statistics import bootstrap
from secateur.statistics.discordant import Discordant, lowest_change, mcnemar
from secateur.statistics.f1 import f1_by_label
from secateur.statistics.paired import bootstrap_macro_f1


def test_drawing_in_small_steps_draws_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory has a bound, whatever the number of rows and samples, and the bits do not depend on it."""
    rng = np.random.default_rng(0)
    labels, before, after = (rng.integers(2, size=(50, 4)) for _ in range(3))

    def drawn() -> list[float]:
        found = bootstrap_macro_f1(labels, before, after, num_labels=4, samples=20, seed=1)
        return list(found.tolist())

    whole = drawn()
    monkeypatch.setattr(bootstrap, "_WEIGHTS_PER_DRAW", 150)
    assert drawn() == whole and len(set(whole)) > 10


def test_counts_rows_on_which_one_model_alone_is_right() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    counts = Discordant.of(labels, np.array([0, 0, 1, 0, 0]), np.array([0, 1, 0, 1, -1]))
    assert counts == Discordant(rows=5, lost=2, won=1)
    assert counts.drop == pytest.approx(0.2)


def test_mcnemar_is_twice_the_tail_of_a_coin() -> None:
    assert mcnemar(Discordant(1000, 0, 0)) == 1.0
    assert mcnemar(Discordant(1000, 5, 5)) == 1.0
    assert mcnemar(Discordant(1000, 0, 10)) == pytest.approx(2 / 2**10)
    assert mcnemar(Discordant(1000, 9, 1)) == pytest.approx(2 * 11 / 2**10)


@given(rows=st.integers(1, 5000), level=st.floats(0.001, 0.4))
def test_rows_without_a_discordant_one_say_how_little_they_are(rows: int, level: float) -> None:
    z = norm.isf(level)
    assert lowest_change(Discordant(rows, 0, 0), level=level) == pytest.approx(
        -(z**2) / (rows + z**2), rel=1e-5, abs=1e-8
    )


def _loss_of_fit(counts: Discordant, change: float, share: float) -> float:
    """Return the negative log-likelihood of the three cells under a change and a share of rows lost."""
    cells = (
        (counts.won, share + change),
        (counts.lost, share),
        (counts.rows - counts.lost - counts.won, 1 - 2 * share - change),
    )
    return -sum(count * np.log(max(probability, 1e-300)) for count, probability in cells if count)


@given(rows=st.integers(20, 400), parts=st.tuples(st.integers(1, 8), st.integers(1, 8)))
def test_the_bound_is_the_change_that_a_score_test_just_does_not_reject(rows: int, parts: tuple[int, int]) -> None:
    counts = Discordant(rows, *parts)
    low = lowest_change(counts, level=0.05)
    least, most = max(0.0, -low), (1.0 - low) / 2.0
    fit = minimize_scalar(
        lambda share: _loss_of_fit(counts, low, share), bounds=(least, most), method="bounded", options={"xatol": 1e-10}
    )
    variance = rows * (2 * fit.x + low - low**2)
    assert (counts.won - counts.lost - rows * low) / np.sqrt(variance) == pytest.approx(norm.isf(0.05), abs=2e-3)


def test_where_no_change_is_the_bound_it_is_mcnemars_score() -> None:
    counts = Discordant(1000, 20, 40)
    level = norm.sf((40 - 20) / np.sqrt(20 + 40))
    assert lowest_change(counts, level=level) == pytest.approx(0.0, abs=1e-6)


def test_the_bound_falls_with_what_is_lost_and_with_the_certainty_asked_for() -> None:
    lost = [lowest_change(Discordant(200, lost, 5), level=0.05) for lost in range(0, 196, 5)]
    assert lost == sorted(lost, reverse=True) and len(set(lost)) == len(lost)
    levels = [lowest_change(Discordant(200, 10, 5), level=level) for level in (0.2, 0.1, 0.05, 0.01)]
    assert levels == sorted(levels, reverse=True)
    assert lowest_change(Discordant(7, 7, 0), level=0.05) == -1.0


def test_recall_and_f1_are_those_of_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    labels, predicted = draw.integers(4, size=200), draw.integers(4, size=200)
    recall, f1 = f1_by_label(labels, predicted, num_labels=5)
    known = list(range(5))
    assert recall == pytest.approx(recall_score(labels, predicted, labels=known, average=None, zero_division=0))
    assert f1 == pytest.approx(f1_score(labels, predicted, labels=known, average=None, zero_division=0))


def test_the_bootstrap_agrees_with_drawing_rows() -> None:
    draw = np.random.default_rng(1)
    labels = draw.integers(3, size=300)
    before = np.where(draw.random(300) < 0.9, labels, draw.integers(3, size=300))
    after = np.where(draw.random(300) < 0.8, labels, draw.integers(-1, 3, size=300))
    found = bootstrap_macro_f1(labels, before, after, num_labels=3, samples=4000, seed=0)
    rows = draw.integers(300, size=(1000, 300))
    drawn = [
        f1_by_label(labels[row], after[row], num_labels=3)[1].mean()
        - f1_by_label(labels[row], before[row], num_labels=3)[1].mean()
        for row in rows
    ]
    assert found.mean() == pytest.approx(np.mean(drawn), abs=0.003)
    assert np.quantile(found, [0.05, 0.95]) == pytest.approx(np.quantile(drawn, [0.05, 0.95]), abs=0.006)


def test_equal_models_differ_by_nothing_in_every_resample() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2])
    said = np.array([0, 1, 1, 0, 2, 2])
    assert (bootstrap_macro_f1(labels, said, said, num_labels=3, samples=200, seed=0) == 0.0).all()
