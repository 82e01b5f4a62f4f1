"""Paired tests: agreement with closed forms and scipy, and what they do at the edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from sklearn.metrics import f1_score, recall_score

from secateur.evaluation.paired import Discordant, bootstrap_macro_f1, f1_by_label, mcnemar, mcnemar_drop


def test_counts_rows_on_which_one_model_alone_is_right() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    counts = Discordant.of(labels, np.array([0, 0, 1, 0, 0]), np.array([0, 1, 0, 1, -1]))
    assert counts == Discordant(rows=5, lost=2, won=1)
    assert counts.drop == pytest.approx(0.2)


@given(lost=st.integers(0, 300), won=st.integers(0, 300))
def test_mcnemar_is_the_binomial_test(lost: int, won: int) -> None:
    total = lost + won
    expected = binomtest(lost, total, 0.5).pvalue if total else 1.0
    assert mcnemar(Discordant(1000, lost, won)) == pytest.approx(expected, rel=1e-9)
    one_sided = binom.sf(lost - 1, total, 0.5)
    assert mcnemar_drop(Discordant(1000, lost, won), max_drop=0.0) == pytest.approx(one_sided, rel=1e-9)


@given(lost=st.integers(1, 100), won=st.integers(0, 100), margin=st.floats(0.001, 0.2))
def test_a_larger_allowance_never_holds_more(lost: int, won: int, margin: float) -> None:
    counts = Discordant(1000, lost, won)
    assert mcnemar_drop(counts, max_drop=margin) >= mcnemar_drop(counts, max_drop=0.0) - 1e-12
    if 1000 * margin >= lost + won:
        assert mcnemar_drop(counts, max_drop=margin) == 1.0


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
