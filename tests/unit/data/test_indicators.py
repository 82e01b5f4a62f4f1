"""Several labels per row as 0 and 1, and a split that keeps the shares of each."""

import numpy as np
import pytest

from secateur.data.copies import copies_among
from secateur.data.indicators import indicated, strata_of
from secateur.data.rare_labels import without
from secateur.data.splits import split_rows
from secateur.readers.label_sets import NONE, as_set
from secateur.readers.label_spelling import LabelRules


def test_every_label_is_a_column_in_the_order_of_its_name():
    found = indicated([as_set(["b", "a"]), NONE, "c"])
    assert found.names == ["a", "b", "c"]
    assert found.values.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert indicated(["10", as_set(["9", "10"])]).names == ["9", "10"]
    assert indicated(["c"], names=["a", "b", "c"]).values.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("seed", range(3))
def test_every_part_has_about_its_share_of_every_label(seed):
    draw = np.random.default_rng(seed)
    shares = np.array([0.5, 0.3, 0.1, 0.02, 0.008])
    values = (draw.random((2000, 5)) < shares).astype(np.float32)
    values[:4, 4] = 1.0
    split = split_rows(strata_of(values), validation_fraction=0.1, test_fraction=0.2, seed=seed)
    for part, share in ((split.validation, 0.1), (split.test, 0.2)):
        assert len(part) == pytest.approx(share * 2000, abs=15)
        found = values[part].sum(axis=0) / values.sum(axis=0)
        assert found == pytest.approx(share, abs=0.06)
        assert (values[part].sum(axis=0) > 0).all()


def test_few_rows_of_many_combinations_still_split():
    values = np.eye(4, dtype=np.float32)[[0, 0, 0, 1, 1, 1, 2, 2, 3]] + np.eye(4, dtype=np.float32)[[1] * 9] * 0
    strata = strata_of(values)
    assert np.bincount(strata).min() >= 3
    assert (strata_of(np.zeros((2, 3), np.float32)) == 0).all()


def test_near_copies_of_another_set_are_no_copies_and_a_rare_set_is_no_label():
    first, labels = np.array([0, 0, 2, 2, 4]), np.array([0, 1, 2, 2, 3])
    by_label = copies_among(first, labels, max_share=0.33)
    together = copies_among(first, labels, groups=np.zeros(5, np.int64), max_share=0.33)
    assert by_label.dropped.tolist() == [False] * 5, "half of the rows of one set would go"
    assert together.dropped.tolist() == [False, False, False, True, False]
    assert together.disagreeing.tolist() == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("how", "left"), [("drop", ["a", NONE, "a"]), ("merge", [as_set(["a", "other"]), "other", "a"])]
)
def test_a_rare_label_is_taken_from_its_rows_or_becomes_one_of_others(how, left):
    rules = LabelRules(rare_labels=how, sets=True)
    assert without([as_set(["a", "r"]), "r", "a"], frozenset({"r"}), rules) == left
