import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.config.clean import CleanSection
from secateur.data.cleaning import Cleaned
from secateur.data.division import by_content, by_group, divided, spread_over_parts
from secateur.errors import DataError

SHARES = np.array([0.7, 0.1, 0.2])


def cleaned(texts, labels, groups=None):
    rows = np.arange(len(texts))
    return Cleaned(list(texts), list(labels), rows, alike=rows, groups=groups, effects=())


@given(st.lists(st.text(max_size=6), max_size=60), st.lists(st.text(max_size=6), max_size=60), st.integers(0, 9))
def test_rows_that_are_added_move_no_others(old, new, seed):
    before, after = by_content(old, SHARES, seed=seed), by_content([*old, *new], SHARES, seed=seed)
    assert np.array_equal(after[: len(old)], before)


def test_content_meets_the_shares_and_another_seed_draws_anew():
    keys = [f"text {i}" for i in range(20_000)]
    one, other = by_content(keys, SHARES, seed=0), by_content(keys, SHARES, seed=1)
    assert np.abs(np.bincount(one) / len(keys) - SHARES).max() < 0.01
    assert 0.4 < (one == other).mean() < 0.7
    assert set(by_content(keys, np.array([0.8, 0.2, 0.0]), seed=0).tolist()) == {0, 1}


@given(st.integers(0, 2**32 - 1), st.integers(3, 80), st.integers(1, 5))
def test_a_group_stands_in_one_part_and_no_part_is_empty(seed, num_groups, num_labels):
    draw = np.random.default_rng(seed)
    groups = np.concatenate([np.arange(num_groups), draw.integers(0, num_groups, 300)])
    strata = draw.integers(0, num_labels, len(groups))
    part = by_group(groups, strata, SHARES, seed=seed)
    assert set(part.tolist()) == {0, 1, 2}
    for group in range(num_groups):
        assert len(set(part[groups == group].tolist())) == 1


def test_many_groups_meet_the_shares_of_every_label():
    draw = np.random.default_rng(0)
    groups = draw.integers(0, 400, 6000)
    strata = (groups % 3 + draw.integers(0, 2, 6000)) % 3
    part = by_group(groups, strata, SHARES, seed=1)
    found = np.array([np.bincount(part[strata == label], minlength=3) for label in range(3)])
    assert np.abs(found / found.sum(axis=1, keepdims=True) - SHARES).max() < 0.01


def test_fewer_groups_than_parts_are_refused():
    with pytest.raises(DataError, match=r"ingest.group_column has 2 different values after cleaning; 3 parts need one"):
        by_group(np.array([0, 1, 1]), np.zeros(3, np.int64), SHARES, seed=0)
    two = by_group(np.array([0, 1, 1]), np.zeros(3, np.int64), np.array([0.8, 0.2, 0.0]), seed=0)
    assert set(two.tolist()) == {0, 1}


def test_a_label_of_which_nothing_trains_is_refused():
    clean = CleanSection(validation_fraction=0.3, test_fraction=0.3, split_by="content")
    texts = [f"text {i}" for i in range(60)]
    strata = np.zeros(60, np.int64)
    whole = divided(cleaned(texts, ["a"] * 60), strata, given=set(), clean=clean, seed=0)
    strata[whole.test[0]] = 1
    with pytest.raises(DataError, match=r"clean.split_by=content leaves no training row of 1 label"):
        divided(cleaned(texts, ["a"] * 60), strata, given=set(), clean=clean, seed=0)


def test_by_content_a_group_decides_before_the_text_and_given_parts_get_nothing():
    clean = CleanSection(split_by="content", test_fraction=0.3)
    texts, groups = [f"text {i}" for i in range(300)], [f"author {i % 40}" if i % 4 else None for i in range(300)]
    whole = divided(cleaned(texts, ["a"] * 300, groups), np.zeros(300, int), given={"validation"}, clean=clean, seed=0)
    assert len(whole.validation) == 0 and len(whole.test) > 30
    assert not {groups[i] for i in whole.train} & {groups[i] for i in whole.test} - {None}


def test_what_is_alike_in_two_parts_is_counted():
    assert spread_over_parts(np.array([0, 1, 0, 0, 2]), np.array([7, 7, 9, 9, 4])).tolist() == [0, 1]
