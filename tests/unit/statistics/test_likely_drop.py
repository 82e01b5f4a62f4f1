"""What is probably lost: exact where it can be, and nearer to the truth than the labels of few rows are."""

import numpy as np
import numpy.typing as npt
import pytest

from secateur.statistics.f1 import macro_f1_of_rows
from secateur.statistics.likely_drop import _macro_f1, likely_drop

Array = npt.NDArray[np.float64]


def drawn(seed: int, *, rows: int, labels: int = 2, noise: float = 1.0) -> tuple[npt.NDArray[np.int64], Array, Array]:
    """Labels from a dense model's own probabilities, its logits twice too sure, and those of a pruned one."""
    draw = np.random.default_rng(seed)
    logits = 2.0 * draw.normal(size=(rows, labels))
    powers = np.exp(logits)
    sums = (powers / powers.sum(axis=1, keepdims=True)).cumsum(axis=1)
    found = (draw.random((rows, 1)) > sums).sum(axis=1).clip(max=labels - 1)
    return found, 2.0 * logits, 2.0 * (logits + noise * draw.normal(size=logits.shape))


def by_labels(labels: npt.NDArray[np.int64], dense: Array, pruned: Array) -> float:
    before, after = (
        macro_f1_of_rows(labels, logits.argmax(axis=1), num_labels=logits.shape[1]) for logits in (dense, pruned)
    )
    return before - after


def test_no_changed_answer_is_no_loss() -> None:
    labels, dense, _ = drawn(0, rows=50, labels=3)
    assert likely_drop(labels, dense=dense, pruned=3.0 * dense) == 0.0


@pytest.mark.parametrize("labels", [2, 5])
def test_the_influence_of_a_row_is_the_derivative_by_its_weight(labels: int) -> None:
    found, dense, _ = drawn(1, rows=40, labels=labels)
    truth, said = np.eye(labels)[found], np.eye(labels)[dense.argmax(axis=1)]
    value, each = _macro_f1(truth, said)
    assert value == pytest.approx(macro_f1_of_rows(found, dense.argmax(axis=1), num_labels=labels))
    for row in (0, 7):
        heavier = np.vstack([truth, 1e-6 * truth[row]]), np.vstack([said, said[row]])
        hits, sizes = (heavier[0] * heavier[1]).sum(axis=0), heavier[0].sum(axis=0) + said.sum(axis=0)
        sizes += 1e-6 * said[row]
        assert (2.0 * hits / sizes).mean() - value == pytest.approx(1e-6 * each[row], rel=1e-3)


def test_labels_that_flatter_are_not_believed_and_many_of_them_are() -> None:
    """Every changed answer is right by its label, where the dense model was fairly sure of the other one."""
    dense = np.tile([[1.5, 0.0], [0.0, 1.5], [3.0, 0.0], [0.0, 3.0]], (25, 1))
    labels = dense.argmax(axis=1)
    labels[:4] = 1 - labels[:4]
    pruned = dense.copy()
    pruned[:4] = dense[:4, ::-1]
    few = likely_drop(labels, dense=dense, pruned=pruned)
    assert by_labels(labels, dense, pruned) == pytest.approx(-0.04, abs=1e-3)
    assert few > by_labels(labels, dense, pruned) + 0.01
    many = likely_drop(np.tile(labels, 400), dense=np.tile(dense, (400, 1)), pruned=np.tile(pruned, (400, 1)))
    assert many == pytest.approx(-0.04, abs=2e-3)


@pytest.mark.parametrize("labels", [2, 6])
def test_of_few_rows_it_is_nearer_to_the_truth_than_the_labels_alone(labels: int) -> None:
    """Squared distances to the loss on 100 000 rows, over 100 tables of 300 rows."""
    noise = 0.6
    truth = by_labels(*drawn(99, rows=100_000, labels=labels, noise=noise))
    assert truth > 0.01
    tables = [drawn(seed, rows=300, labels=labels, noise=noise) for seed in range(100)]
    alone = np.mean([(by_labels(*table) - truth) ** 2 for table in tables])
    found = np.mean([(likely_drop(table[0], dense=table[1], pruned=table[2]) - truth) ** 2 for table in tables])
    assert found < 0.6 * alone


def test_a_label_without_rows_or_answers_breaks_nothing() -> None:
    labels, dense, pruned = drawn(2, rows=30)
    wide = [np.hstack([logits, np.full((30, 1), -9.0)]) for logits in (dense, pruned)]
    assert np.isfinite(likely_drop(labels, dense=wide[0], pruned=wide[1]))
