import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.data.splits import apportion, cap_rows, raised_share, split_rows
from secateur.errors import DataError

COUNTS = st.lists(st.integers(3, 200), min_size=2, max_size=6)


@given(COUNTS, st.integers(0, 2000))
def test_the_shares_add_up_and_no_class_is_forgotten(counts, total):
    counts = np.array(counts)
    quota = apportion(total, counts)
    assert quota.sum() == min(max(total, len(counts)), counts.sum())
    assert (quota >= 1).all() and (quota <= counts).all()
    if total >= len(counts) * 70:  # far from the bounds, nobody is more than one row from the exact share
        assert (np.abs(quota - counts * min(1, total / counts.sum())) <= 1 + len(counts)).all()


def test_largest_remainders_by_hand():
    assert apportion(10, np.array([50, 30, 20])).tolist() == [5, 3, 2]
    assert apportion(4, np.array([50, 30, 20])).tolist() == [2, 1, 1]
    assert apportion(3, np.array([98, 1, 1])).tolist() == [1, 1, 1]
    assert apportion(9, np.array([2, 0, 3])).tolist() == [2, 0, 3]


@given(COUNTS, st.floats(0.01, 0.3), st.floats(0.01, 0.3), st.integers(0, 2**32 - 1))
def test_every_row_is_in_one_part_and_every_label_in_every_part(counts, validation, test, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    split = split_rows(labels, validation_fraction=validation, test_fraction=test, seed=seed)
    parts = [split.train, split.validation, split.test]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    for part in parts:
        assert set(labels[part]) == set(range(len(counts)))
        assert (np.diff(part) > 0).all()


def test_a_part_of_few_rows_is_raised_to_a_fifth_at_most():
    assert raised_share(0.07, min_rows=400, num_rows=28_000) == 0.07
    assert raised_share(0.07, min_rows=400, num_rows=4_000) == 0.1
    assert raised_share(0.07, min_rows=400, num_rows=600) == 0.2
    assert raised_share(0.3, min_rows=400, num_rows=600) == 0.3, "what is asked for is never lowered"
    assert raised_share(0.07, min_rows=0, num_rows=600) == 0.07


def test_the_seed_decides():
    labels = np.arange(300) % 3
    one, same, other = (
        split_rows(labels, validation_fraction=0.1, test_fraction=0.2, seed=seed).test for seed in (1, 1, 2)
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert np.bincount(labels[one]).tolist() == [20, 20, 20]


def test_a_cap_keeps_the_shares_and_a_loose_one_keeps_all():
    labels = np.repeat([0, 1], [900, 100])
    rows = np.arange(0, 1000, 2)
    capped = cap_rows(rows, labels, max_rows=50, seed=0)
    assert np.bincount(labels[capped]).tolist() == [45, 5]
    assert set(capped) <= set(rows)
    assert cap_rows(rows, labels, max_rows=None, seed=0) is rows
    assert cap_rows(rows, labels, max_rows=500, seed=0) is rows


def test_what_cannot_be_split_is_refused():
    with pytest.raises(DataError, match="fewer than 3 rows"):
        split_rows(np.array([0, 0, 0, 1, 1]), validation_fraction=0.1, test_fraction=0.1, seed=0)
    with pytest.raises(DataError, match="take all 4 rows of a label; lower them"):
        split_rows(np.array([0] * 4 + [1] * 4), validation_fraction=0.5, test_fraction=0.5, seed=0)


@given(COUNTS, st.integers(0, 2**32 - 1), st.integers(2, 60))
def test_groups_stay_together_where_a_part_has_room_and_the_shares_stay_exact(counts, seed, num_groups):
    draw = np.random.default_rng(seed)
    labels = draw.permutation(np.repeat(np.arange(len(counts)), counts))
    groups = np.where(
        draw.random(len(labels)) < 0.4, draw.integers(0, num_groups, len(labels)), 1000 + labels.argsort()
    )
    share = {"validation_fraction": 0.1, "test_fraction": 0.2, "seed": seed}
    split, alone = split_rows(labels, groups=groups, **share), split_rows(labels, **share)
    part = np.empty(len(labels), int)
    for number, (rows, expected) in enumerate(
        [(split.train, alone.train), (split.validation, alone.validation), (split.test, alone.test)]
    ):
        part[rows] = number
        assert np.array_equal(np.bincount(labels[rows]), np.bincount(labels[expected]))
    spread = set(groups[split.spread].tolist())
    for group in set(groups.tolist()) - spread:
        assert len(set(part[groups == group].tolist())) == 1


def test_a_group_larger_than_any_part_is_spread_and_named():
    labels = np.arange(300) % 3
    one = split_rows(labels, validation_fraction=0.1, test_fraction=0.1, seed=0, groups=np.zeros(300, np.int64))
    assert np.array_equal(one.spread, np.arange(300))
    assert (len(one.train), len(one.validation), len(one.test)) == (240, 30, 30)


def test_groups_of_one_change_nothing():
    labels = np.arange(300) % 3
    alone = split_rows(labels, validation_fraction=0.1, test_fraction=0.2, seed=4)
    grouped = split_rows(labels, validation_fraction=0.1, test_fraction=0.2, seed=4, groups=np.arange(300))
    assert np.array_equal(alone.test, grouped.test) and np.array_equal(alone.train, grouped.train)
