import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from secateur.data.documents import Document
from secateur.training.batches import IGNORED, batches_of
from secateur.training.packing import one_by_one, packed

BEGIN, END, CONTROL = 1, 2, 9
texts = st.lists(st.lists(st.integers(20, 99), min_size=1, max_size=30), min_size=1, max_size=12)


def documents(ids, *, begin=BEGIN, control=True):
    given_ids = (begin, CONTROL) if control else (begin,)
    return [Document(given=given_ids, predicted=(*text, END), num_characters=len(text) + 1) for text in ids]


def predicted(rows) -> list[int]:
    found = [
        label for batch in batches_of(rows, batch_size=4, pad_token_id=0) for label in batch.labels.flatten().tolist()
    ]
    return sorted(label for label in found if label != IGNORED)


@given(texts=texts, length=st.integers(2, 40))
def test_every_token_is_predicted_once_and_nothing_that_is_given(texts, length):
    asked = sorted(token for text in texts for token in (*text, END))
    made = documents(texts)
    assert predicted(packed(made, max_length=length)) == asked
    assert predicted(one_by_one(made, max_length=length, rows=range(len(made)))) == asked


@given(texts=texts, length=st.integers(2, 40))
def test_blocks_are_full_but_for_the_last(texts, length):
    lengths = packed(documents(texts), max_length=length).lengths
    assert set(lengths[:-1].tolist()) <= {length}
    assert 2 <= lengths[-1] <= length


def test_worked_by_hand():
    rows = packed(documents([[20, 21], [30]]), max_length=5)
    assert [rows.ids(index).tolist() for index in range(len(rows))] == [[1, 9, 20, 21, 2], [2, 1, 9, 30, 2]]
    assert rows.given == (BEGIN, CONTROL)


def test_an_end_that_also_begins_stands_between_texts_once_and_is_predicted():
    rows = packed(documents([[20], [30]], begin=END, control=False), max_length=16)
    assert rows.ids(0).tolist() == [2, 20, 2, 30, 2]
    assert rows.given == ()
    assert predicted(rows) == [2, 2, 20, 30]


def test_a_long_text_goes_on_in_further_rows_of_its_own():
    rows = one_by_one(documents([[20, 21, 22, 23], [30]]), max_length=4, rows=[7, 8])
    assert [rows.ids(index).tolist() for index in range(len(rows))] == [[1, 9, 20, 21], [21, 22, 23, 2], [1, 9, 30, 2]]
    assert rows.rows.tolist() == [7, 7, 8]
    assert rows.labels.dtype == np.int64
