import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from secateur.evaluation.metrics import accuracy, bootstrap, confusion, macro_f1, per_label

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


@given(pairs=PAIRS)
def test_agrees_with_scikit_learn(pairs):
    labels, predicted = np.array(pairs).T
    counts = confusion(labels, predicted, num_labels=4)
    everything = list(range(4))
    assert accuracy(counts) == pytest.approx(accuracy_score(labels, predicted))
    expected = f1_score(labels, predicted, labels=everything, average="macro", zero_division=0)
    assert macro_f1(counts) == pytest.approx(expected)
    table = precision_recall_fscore_support(labels, predicted, labels=everything, zero_division=0)
    for name, column in zip(("precision", "recall", "f1", "support"), table, strict=True):
        assert [entry[name] for entry in per_label(counts)] == pytest.approx(column.tolist())


def test_worked_by_hand():
    counts = np.array([[3, 1], [2, 4]])
    assert accuracy(counts) == 0.7
    # F1: 6 / (4 + 5) and 8 / (6 + 5)
    assert macro_f1(counts) == pytest.approx((6 / 9 + 8 / 11) / 2)


def test_intervals_agree_with_resampling_of_rows():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, size=400)
    predicted = np.where(generator.random(400) < 0.8, labels, generator.integers(0, 3, size=400))
    counts = confusion(labels, predicted, num_labels=3)
    found = bootstrap(counts, samples=4000, level=0.9, seed=1)
    draws = generator.integers(0, 400, size=(1000, 400))
    rows = [macro_f1(confusion(labels[d], predicted[d], num_labels=3)) for d in draws]
    low, high = np.quantile(rows, [0.05, 0.95])
    # The error of a quantile from 1 000 resamples is about 0.002 here.
    assert found["macro_f1"].low == pytest.approx(low, abs=0.006)
    assert found["macro_f1"].high == pytest.approx(high, abs=0.006)
    assert found["macro_f1"].low < found["macro_f1"].value < found["macro_f1"].high


def test_intervals_repeat_and_collapse_on_perfection():
    counts = np.diag([5, 5])
    assert bootstrap(counts, samples=100, level=0.95, seed=0) == bootstrap(counts, samples=100, level=0.95, seed=0)
    perfect = bootstrap(counts, samples=100, level=0.95, seed=0)["accuracy"]
    assert (perfect.low, perfect.value, perfect.high) == (1.0, 1.0, 1.0)
