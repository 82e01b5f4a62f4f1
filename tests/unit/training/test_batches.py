import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from secateur.data.tokens import from_lists
from secateur.training.batches import collate, shuffled, sorted_by_length


@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=300), batch_size=st.integers(1, 9))
def test_every_row_occurs_once(lengths, batch_size):
    lengths = np.array(lengths)
    for batches in (
        shuffled(lengths, batch_size=batch_size, generator=np.random.default_rng(0)),
        sorted_by_length(lengths, batch_size=batch_size),
    ):
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
        assert all(len(batch) <= batch_size for batch in batches)
        assert len(batches) == -(-len(lengths) // batch_size)


def test_grouping_saves_most_of_the_padding():
    lengths = np.random.default_rng(1).integers(5, 60, size=2000)

    def padded(batches):
        return sum(len(batch) * lengths[batch].max() for batch in batches)

    grouped = padded(shuffled(lengths, batch_size=32, generator=np.random.default_rng(0)))
    plain = padded(np.array_split(np.random.default_rng(0).permutation(2000), 63))
    assert grouped < 1.1 * lengths.sum() < 1.6 * lengths.sum() < plain


def test_epochs_differ_and_seeds_repeat():
    lengths = np.random.default_rng(1).integers(5, 60, size=500)
    generator, again = np.random.default_rng(4), np.random.default_rng(4)
    first, second, repeated = (
        np.concatenate(shuffled(lengths, batch_size=8, generator=g)) for g in (generator, generator, again)
    )
    assert np.array_equal(first, repeated)
    assert not np.array_equal(first, second)


def test_rows_are_padded_to_a_multiple_and_masked():
    rows = from_lists([[5, 6], [7, 8, 9, 1, 2], [3] * 30], labels=[1, 0, 1])
    batch = collate(rows, np.array([1, 0]), pad_token_id=99)
    assert batch.input_ids.tolist() == [[7, 8, 9, 1, 2, 99, 99, 99], [5, 6, 99, 99, 99, 99, 99, 99]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0]]
    assert batch.labels.tolist() == [0, 1]
    assert batch.index.tolist() == [1, 0]


def test_padding_never_exceeds_the_longest_row_of_all():
    rows = from_lists([[5, 6], [7, 8, 9, 1, 2]], labels=[1, 0])
    assert collate(rows, np.array([1]), pad_token_id=0).input_ids.shape == (1, 5)


def test_labels_of_a_generator_are_the_tokens_that_follow():
    rows = from_lists([[1, 9, 5, 6, 2], [1, 7, 2]], labels=[0, 0], given=(1, 9))
    batch = collate(rows, np.array([0, 1]), pad_token_id=0)
    assert batch.input_ids.tolist() == [[1, 9, 5, 6, 2], [1, 7, 2, 0, 0]]
    assert batch.labels.tolist() == [[-100, 5, 6, 2, -100], [7, 2, -100, -100, -100]]


def test_what_is_given_in_the_middle_of_a_block_is_not_predicted():
    rows = from_lists([[5, 2, 1, 9, 6]], labels=[0], given=(1, 9))
    assert collate(rows, np.array([0]), pad_token_id=0).labels.tolist() == [[2, -100, -100, 6, -100]]
