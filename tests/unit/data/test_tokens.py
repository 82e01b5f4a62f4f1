import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateur.data.tokens import from_lists, read_tokens, tokenize, write_tokens
from secateur.errors import DataError


class Letters:
    """Tokenises every letter, with a begin and an end, as transformers tokenizers do."""

    def __call__(self, texts, *, truncation, max_length, return_attention_mask):
        assert truncation
        assert not return_attention_mask
        return {"input_ids": [[1, *[ord(c) for c in text][: max_length - 2], 2] for text in texts]}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "rows.parquet"
    columns = {"text": ["abc", "", "abcdefgh"], "label": [1, 0, 1], "row": [7, 8, 30]}
    pq.write_table(pa.table(columns), path)
    return path


def test_rows_come_back_cut_and_labelled(table, tmp_path):
    tokenize(table, tokenizer=Letters(), max_length=6, out=tmp_path / "a.arrow")
    rows = read_tokens(tmp_path / "a.arrow")
    assert [rows.ids(i).tolist() for i in range(3)] == [[1, 97, 98, 99, 2], [1, 2], [1, 97, 98, 99, 100, 2]]
    assert rows.lengths.tolist() == [5, 2, 6]
    assert rows.labels.tolist() == [1, 0, 1]
    assert rows.rows.tolist() == [7, 8, 30]


def test_datasets_maps_the_file_too(table, tmp_path):
    tokenize(table, tokenizer=Letters(), max_length=6, out=tmp_path / "a.arrow")
    mapped = datasets.Dataset.from_file(str(tmp_path / "a.arrow"))
    assert mapped[0] == {"input_ids": [1, 97, 98, 99, 2], "label": 1, "row": 7}


def test_equal_inputs_give_equal_bytes(table, tmp_path):
    for name in ("a", "b"):
        tokenize(table, tokenizer=Letters(), max_length=6, out=tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_rows_over_several_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("secateur.data.tokens._ROWS_PER_BATCH", 2)
    pq.write_table(pa.table({"text": list("abcde"), "label": range(5), "row": range(5)}), tmp_path / "t.parquet")
    tokenize(tmp_path / "t.parquet", tokenizer=Letters(), max_length=6, out=tmp_path / "a")
    rows = read_tokens(tmp_path / "a")
    assert [rows.ids(i)[1] for i in range(5)] == [97, 98, 99, 100, 101]


def test_no_rows_are_refused(tmp_path):
    columns = {"text": pa.array([], pa.string()), "label": pa.array([], pa.int64()), "row": pa.array([], pa.int64())}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    tokenize(tmp_path / "t.parquet", tokenizer=Letters(), max_length=6, out=tmp_path / "a")
    with pytest.raises(DataError, match="holds no rows"):
        read_tokens(tmp_path / "a")


def test_take_keeps_the_asked_order():
    rows = from_lists([[1], [2, 3], [4]], labels=[0, 1, 2]).take([2, 0])
    assert rows.values.tolist() == [4, 1]
    assert rows.offsets.tolist() == [0, 1, 2]
    assert rows.labels.tolist() == [2, 0]
    assert rows.rows.tolist() == [2, 0]
    assert rows.values.dtype == np.int32


def test_written_rows_are_what_tokenize_writes(table, tmp_path):
    tokenize(table, tokenizer=Letters(), max_length=6, out=tmp_path / "a")
    write_tokens(read_tokens(tmp_path / "a"), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_is_predicted_is_counted():
    rows = from_lists([[1, 5, 6, 2], [2, 1, 7]], labels=[0, 0], given=(1,))
    assert rows.num_predicted == 4
    assert rows.take([1]).num_predicted == 1


def test_what_is_given_survives_the_file_and_a_choice_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("secateur.data.tokens._ROWS_PER_BATCH", 2)
    rows = from_lists([[1, 5], [1, 6, 7], [1, 8, 9, 2]], labels=[0, 1, 0], given=(1,))
    write_tokens(rows, tmp_path / "a")
    back = read_tokens(tmp_path / "a")
    assert [back.ids(i).tolist() for i in range(3)] == [[1, 5], [1, 6, 7], [1, 8, 9, 2]]
    assert back.given == back.take([1]).given == (1,)
    assert read_tokens(tmp_path / "a").labels.tolist() == [0, 1, 0]
