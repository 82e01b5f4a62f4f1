"""One text or two to a row: ids, types and lengths are those of transformers."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer, DistilBertConfig

from secateur.data.encoding import encode
from secateur.data.tokens import in_card, read_tokens, tokenize, write_tokens
from secateur.errors import DataError, ModelError
from secateur.models.checkpoint import load_tokenizer
from secateur.readers.pairs import as_text
from secateur.training.batches import collate
from tests.tiny import write_bert

FIRST = ["good day", "the train house " * 9, "a", "stone river"]
SECOND = ["bad walk today", "song", "book stone " * 12, ""]
TEXTS = [as_text(pair) for pair in zip(FIRST, SECOND, strict=True)]
LENGTH = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("model") / "bert")


@pytest.fixture(scope="module")
def tokenizer(folder):
    return load_tokenizer(folder)


@pytest.fixture
def table(tmp_path):
    pq.write_table(pa.table({"text": TEXTS, "label": [0, 1, 0, 1], "row": [4, 5, 6, 9]}), tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


@pytest.fixture
def expected(folder):
    plain = AutoTokenizer.from_pretrained(folder)
    return plain(FIRST, SECOND, truncation="longest_first", max_length=LENGTH, padding=True)


def test_pairs_are_read_as_transformers_reads_them(tokenizer, table, tmp_path, expected):
    assert tokenize(table, tokenizer=tokenizer, max_length=LENGTH, out=tmp_path / "a.arrow") == 2
    rows = read_tokens(tmp_path / "a.arrow")
    batch = collate(rows, np.arange(4), pad_token_id=tokenizer.pad_token_id)
    assert batch.input_ids.tolist() == expected["input_ids"]
    assert batch.inputs()["token_type_ids"].tolist() == expected["token_type_ids"]
    assert batch.attention_mask.tolist() == expected["attention_mask"]
    assert rows.lengths.max() == LENGTH and in_card(table) == {"texts": 2}


def test_rows_keep_where_the_second_text_begins(tokenizer, table, tmp_path):
    tokenize(table, tokenizer=tokenizer, max_length=LENGTH, out=tmp_path / "a.arrow")
    rows = read_tokens(tmp_path / "a.arrow")
    taken = rows.take([2, 0])
    assert taken.second.tolist() == rows.second[[2, 0]].tolist()
    write_tokens(taken, tmp_path / "b.arrow")
    assert read_tokens(tmp_path / "b.arrow").second.tolist() == taken.second.tolist()
    halves = collate(rows, np.arange(4), pad_token_id=0).part(1, of=2)
    assert halves.types.tolist() == rows.types(np.array([1, 3]), width=halves.input_ids.shape[1]).tolist()


def test_few_at_a_time_are_the_same_rows(tokenizer, monkeypatch):
    many = encode(tokenizer, TEXTS, max_length=LENGTH)
    monkeypatch.setattr("secateur.data.encoding._PAIRS_AT_ONCE", 1)
    assert encode(tokenizer, TEXTS, max_length=LENGTH) == many
    assert many.cut == [False, True, True, False]


def test_one_text_to_a_row_has_no_types(tokenizer, tmp_path):
    pq.write_table(pa.table({"text": FIRST, "label": [0] * 4, "row": range(4)}), tmp_path / "rows.parquet")
    tokenize(tmp_path / "rows.parquet", tokenizer=tokenizer, max_length=LENGTH, out=tmp_path / "a.arrow")
    rows = read_tokens(tmp_path / "a.arrow")
    assert rows.second is None and in_card(tmp_path / "rows.parquet") == {}
    assert "token_type_ids" not in collate(rows, np.arange(2), pad_token_id=0).inputs()


def test_a_model_without_types_is_given_none(folder, tmp_path, expected):
    config = DistilBertConfig(vocab_size=121, dim=8, n_heads=2, n_layers=1, hidden_dim=16)
    config.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    found = encode(load_tokenizer(tmp_path), TEXTS, max_length=LENGTH)
    assert found.second is None
    assert found.ids[0] == expected["input_ids"][0][: len(found.ids[0])]


def test_rows_of_either_kind_and_tokenizers_that_run_texts_together_are_refused(tokenizer):
    with pytest.raises(DataError, match="some rows have two texts and others one"):
        encode(tokenizer, [TEXTS[0], "alone"], max_length=LENGTH)

    class Joins:
        def num_special_tokens_to_add(self, *, pair):
            return 0

    with pytest.raises(ModelError, match=r"Joins.* puts nothing between two texts"):
        encode(Joins(), TEXTS, max_length=LENGTH)
