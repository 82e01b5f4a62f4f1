"""A linear probe of vectors: which labels it can learn, and from how many rows."""

import numpy as np
import pytest

from secateur.statistics import probe as module
from secateur.statistics.probe import probe, why_unprobed


def test_labels_that_tell_nothing_are_named() -> None:
    assert why_unprobed(np.array([0, 1, 0, 1])) is None
    assert "have one label" in str(why_unprobed(np.zeros(10, np.int64)))
    assert "10 labels in 10 rows" in str(why_unprobed(np.arange(10)))
    assert "1001 labels in 4004 rows" in str(why_unprobed(np.repeat(np.arange(1001), 4)))


def test_a_part_of_many_rows_is_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    labels = draw.integers(2, size=400)
    vectors = draw.normal(size=(400, 4)) + 2.0 * labels[:, None]
    assert probe(vectors, labels, vectors, labels) > 0.95
    monkeypatch.setattr(module, "MAX_ROWS", 40)
    turned = labels.copy()
    turned[1::2] = 1 - turned[1::2]  # rows that are not looked at
    assert probe(vectors, turned, vectors, labels) > 0.95
    assert why_unprobed(np.arange(400) % 10) == why_unprobed(np.zeros(40, np.int64))
