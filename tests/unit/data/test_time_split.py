import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.data.time_split import NOWHERE, by_time, first_places, without_later_groups
from secateur.errors import DataError

SHARES = np.array([0.7, 0.1, 0.2])


def times(values):
    return pa.chunked_array([pa.array(values)])


@given(st.lists(st.integers(0, 30), min_size=3, max_size=200).filter(lambda values: len(set(values)) >= 3))
def test_no_row_that_judges_is_earlier_than_one_that_is_learned_from(values):
    found = by_time(times(values), SHARES, groups=None)
    spans = [[value for value, part in zip(values, found.part, strict=True) if part == number] for number in range(3)]
    assert all(spans)
    assert max(spans[0]) < min(spans[1]) and max(spans[1]) < min(spans[2])
    assert found.starts == {"validation": str(min(spans[1])), "test": str(min(spans[2]))}


def test_the_shares_are_met_where_each_row_has_a_time_of_its_own():
    order = np.random.default_rng(0).permutation(1000)
    found = by_time(times(order.tolist()), SHARES, groups=None)
    assert np.bincount(found.part).tolist() == [700, 100, 200]
    assert set(order[found.part == 2]) == set(range(800, 1000))
    alone = by_time(times(order.tolist()), np.array([0.8, 0.0, 0.2]), groups=None)
    assert np.bincount(alone.part).tolist() == [800, 0, 200] and list(alone.starts) == ["test"]


@pytest.mark.parametrize(
    ("counts", "starts"),
    [
        ([70, 10, 20], {2: 2, 1: 1}),
        ([60, 12, 20, 8], {2: 2, 1: 1}),  # 28 rows are 8 too many for the test, 8 rows 12 too few
        ([1, 1, 98], {2: 2, 1: 1}),
    ],
)
def test_a_part_begins_where_its_rows_come_nearest_to_its_share(counts, starts):
    assert first_places(np.array(counts), SHARES) == starts


def test_fewer_times_than_parts_are_refused():
    with pytest.raises(DataError, match="time_column has 2 different values after cleaning; 3 parts need one each"):
        by_time(times([1, 1, 2]), SHARES, groups=None)


def test_rows_of_groups_that_judge_teach_nothing():
    part = np.array([0, 0, 1, 2, 1, 0])
    groups = ["anna", "bert", "bert", "anna", None, None]
    assert without_later_groups(part, groups).tolist() == [NOWHERE, NOWHERE, 1, 2, 1, 0]
    with pytest.raises(DataError, match="leave no row for train: all of its groups stand in later rows, too"):
        by_time(times([1, 2, 3]), SHARES, groups=["a", "a", "a"])
