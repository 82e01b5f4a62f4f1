"""How long training is that says ``auto``."""

import pytest

from secateur.config.baseline import BaselineSection
from secateur.config.prune import Recovery


@pytest.mark.parametrize(
    ("rows", "labels", "epochs", "steps", "recovery_steps"),
    [
        (200, 2, 3.0, 300, 200),
        (23_311, 3, 1.2, 300, 200),
        (14_000, 2, 2.0, 300, 200),
        (5000, 40, 3.0, 625, 417),  # 625 * 32 rows are 500 of each label
        (42_506, 40, 3.0, 625, 417),
        (20_000, 10, 1.6, 300, 200),  # 32 000 rows are 3 200 of each label
        (600_000, 2, 1.2, 300, 200),
        (600_000, 40, 1.2, 625, 417),
        (400, 0, 3.0, 300, 200),
    ],
)
def test_few_rows_are_seen_more_often_and_many_labels_take_more_steps(rows, labels, epochs, steps, recovery_steps):
    baseline = BaselineSection().settled(rows=rows, labels=labels)
    recovery = Recovery().settled(rows=rows, labels=labels)
    assert (baseline.passes, baseline.least_steps) == (epochs, steps)
    assert (recovery.passes, recovery.least_steps) == (1.0, recovery_steps)


def test_numbers_that_were_asked_for_stay():
    asked = BaselineSection(epochs=7, min_steps=10)
    assert asked.settled(rows=200, labels=40) == asked
    assert BaselineSection(epochs=7).settled(rows=200, labels=40).least_steps == 0


def test_larger_batches_take_fewer_steps_for_as_many_rows_of_a_label():
    assert Recovery(batch_size=8).settled(rows=5000, labels=40).least_steps == 1667


def test_rows_with_several_labels_are_seen_more_often():
    assert BaselineSection().settled(rows=4492, labels=23, sets=True).passes == 10.0
    assert BaselineSection().settled(rows=4492, labels=23).passes == 3.0
    assert BaselineSection().settled(rows=400_000, labels=23, sets=True).passes == 1.2
    assert Recovery().settled(rows=4492, labels=23, sets=True).passes == Recovery().settled(rows=4492, labels=23).passes
