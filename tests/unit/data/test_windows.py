"""Windows of long texts: everything is read up to a number of them, and each is a text of its own."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.data.encoding import encode, long_texts_of, max_windows_of, read_long_texts_, windows_of
from secateur.data.tokens import read_tokens, tokenize, write_tokens
from secateur.data.windows import Windows, mean_of
from secateur.errors import ModelError
from secateur.models.checkpoint import load_base, load_tokenizer, save
from secateur.models.vocabulary import covering, cut_vocabulary_, remap, remapping
from secateur.readers.pairs import as_text
from tests.tiny import sentences, write_bert

TEXTS = ["good day", "the house stone river " * 9 + "bad", "a"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("model") / "bert")


@pytest.fixture
def tokenizer(folder):
    found = load_tokenizer(folder)
    read_long_texts_(found, "windows", max_windows=5)
    return found


@given(
    room=st.integers(1, 40),
    special=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    most=st.integers(2, 9),
    tokens=st.integers(0, 600),
)
def test_windows_are_full_even_and_read_everything_up_to_their_number(room, special, most, tokens):
    before, after = special
    windows = Windows(before + room + after, before, after, most=most)
    row = np.concatenate([np.full(before, -1), np.arange(tokens), np.full(after, -2)])
    found, lengths = windows.of(row), np.array([len(row)])
    assert len(found) == windows.counts(lengths)[0] == len(windows.starts(len(row))) <= most
    assert all(piece[:before].tolist() == [-1] * before for piece in found)
    assert all(piece[len(piece) - after :].tolist() == [-2] * after for piece in found)
    texts = [piece[before : len(piece) - after].tolist() for piece in found]
    if tokens <= room:
        assert texts == [list(range(tokens))]
        return
    assert {len(text) for text in texts} == {room} and texts[0][0] == 0 and texts[-1][-1] == tokens - 1
    steps = np.diff([text[0] for text in texts])
    assert steps.max() - steps.min() <= 1
    everything = sorted({token for text in texts for token in text}) == list(range(tokens))
    assert everything is not bool(windows.unread(lengths)[0])
    if len(found) < most:
        assert steps.max() <= room - room // 4


def test_what_is_said_of_a_row_is_the_mean_over_its_windows():
    values = np.array([[1.0, 0.0], [3.0, 2.0], [5.0, 7.0]], np.float32)
    assert mean_of(values, np.array([0, 0, 1])).tolist() == [[2.0, 1.0], [5.0, 7.0]]
    assert mean_of(values, None) is values


def test_a_long_text_stays_whole_and_its_windows_are_texts(tokenizer, folder):
    found, plain = encode(tokenizer, TEXTS, max_length=12), load_tokenizer(folder)
    assert found.windows == Windows(12, 1, 1, most=5) == windows_of(tokenizer, 12)
    assert found.ids == plain(TEXTS)["input_ids"] and found.cut == [False, False, False]
    assert encode(tokenizer, ["day " * 51], max_length=12).cut == [True]
    first, *_, last = found.windows.of(np.array(found.ids[1]))
    words = TEXTS[1].split()
    assert first.tolist() == plain(" ".join(words[:10]))["input_ids"]
    assert last.tolist() == plain(" ".join(words[-10:]))["input_ids"]
    pairs = [as_text([text, text]) for text in TEXTS]
    assert encode(tokenizer, pairs, max_length=12) == encode(plain, pairs, max_length=12)


def test_it_goes_with_the_tokenizer_and_stands_in_the_card(tokenizer, folder, tmp_path):
    model = load_base(folder, labels=["a", "b"])
    card = save(model, tokenizer, tmp_path / "saved", card={"task": "classification"}, check_reload=False)
    again = load_tokenizer(tmp_path / "saved")
    assert card is None and (long_texts_of(again), max_windows_of(again)) == ("windows", 5)
    card = (tmp_path / "saved/card.json").read_text(encoding="utf-8")
    assert '"long_texts": "windows"' in card and '"max_windows": 5' in card
    read_long_texts_(again, "head_tail")
    assert "max_windows" not in again.init_kwargs


@pytest.mark.parametrize("said", [1, "8", True, None])
def test_a_number_of_windows_that_is_none_is_refused(tokenizer, said):
    tokenizer.init_kwargs["max_windows"] = said
    with pytest.raises(ModelError, match=r"max_windows=.*; a whole number of 2 or more would work"):
        encode(tokenizer, TEXTS, max_length=12)


def test_no_room_for_a_text_is_refused(tokenizer):
    with pytest.raises(ModelError, match="windows of 2 tokens leave no room between the special ones: 1 before"):
        encode(tokenizer, TEXTS, max_length=2)


def test_token_files_hold_whole_rows_and_say_how_they_are_read(tokenizer, tmp_path):
    pq.write_table(pa.table({"text": TEXTS, "label": [0, 1, 0], "row": range(3)}), tmp_path / "rows.parquet")
    assert tokenize(tmp_path / "rows.parquet", tokenizer=tokenizer, max_length=12, out=tmp_path / "a.arrow") == 0
    rows = read_tokens(tmp_path / "a.arrow")
    assert rows.num_windows.tolist() == [1, 5, 1] and rows.sizes.tolist() == [4, 60, 3]
    assert rows.windowed == {"texts": 1, "windows": 5, "most": 5}
    assert rows.described()["windows"]["unread"] == 0 and rows.take([2, 1]).windows == rows.windows
    write_tokens(rows, tmp_path / "b.arrow")
    assert (tmp_path / "a.arrow").read_bytes() == (tmp_path / "b.arrow").read_bytes()
    pieces, row_of = rows.pieces(np.array([1, 0]))
    assert row_of.tolist() == [0] * 5 + [1] and {len(piece) for piece in pieces[:5]} == {12}
    assert rows.pieces(np.array([0, 2]))[1] is None


def test_rows_of_a_smaller_vocabulary_are_what_its_tokenizer_reads(tokenizer, folder, tmp_path):
    texts = [" ".join(text for text, _ in sentences(3, seed=seed)) for seed in range(12)]
    pq.write_table(pa.table({"text": texts, "label": [0] * 12, "row": range(12)}), tmp_path / "rows.parquet")
    tokenize(tmp_path / "rows.parquet", tokenizer=tokenizer, max_length=16, out=tmp_path / "a.arrow")
    rows = read_tokens(tmp_path / "a.arrow")
    counts = np.bincount(rows.values, minlength=len(tokenizer))
    cut = cut_vocabulary_(load_base(folder, labels=["a", "b"]), tokenizer, covering(counts, tokenizer, min_count=4))
    table = remapping(tokenizer, cut, vocab_size=len(tokenizer))
    found, again = remap(rows, table, max_length=16, long_texts="windows"), encode(cut, texts, max_length=16)
    assert table.gone.any() and found.windows == again.windows == rows.windows
    assert [found.ids(index).tolist() for index in range(12)] == again.ids
