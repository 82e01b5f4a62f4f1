"""What is read of a text that is longer than the model reads, and that everybody reads the same."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from secateur.data.encoding import encode, encoded_parts, head_and_tail, head_length, long_texts_of, read_long_texts_
from secateur.data.tokens import read_tokens, tokenize
from secateur.errors import ModelError
from secateur.evaluation.attacks.word_swap import swappable_tokens, whole_words
from secateur.models.checkpoint import load_base, load_tokenizer, save
from secateur.models.vocabulary import covering, cut_vocabulary_, remap, remapping
from secateur.readers.pairs import as_text
from tests.tiny import sentences, write_bert

LENGTH = 12
LONG = "good day the train house stone river walk song book " * 4
TEXTS = ["good day", LONG + "bad", "a", "river " + LONG]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("model") / "bert")


@pytest.fixture
def tokenizer(folder):
    found = load_tokenizer(folder)
    read_long_texts_(found, "head_tail")
    return found


def test_of_512_tokens_128_and_382_words_are_read():
    row = ["[CLS]", *range(1000), "[SEP]"]
    found = head_and_tail(row, 512)
    assert found == ["[CLS]", *range(128), *range(1000 - 382, 1000), "[SEP]"]
    assert head_and_tail(row[:512], 512) == row[:512] and head_length(4) == 1


def test_both_ends_are_read_and_each_text_is_tokenised_once(tokenizer, folder, monkeypatch):
    whole = AutoTokenizer.from_pretrained(folder)(TEXTS)["input_ids"]
    calls = []
    monkeypatch.setattr(type(tokenizer), "__call__", _counted(type(tokenizer).__call__, calls))
    found = encode(tokenizer, TEXTS, max_length=LENGTH)
    assert len(calls) == 1
    assert found.cut == [False, True, False, True]
    head = head_length(LENGTH)
    assert found.ids[0] == whole[0] and found.ids[1] == [*whole[1][:head], *whole[1][head - LENGTH :]]
    assert found.ids[1][-2] == tokenizer.convert_tokens_to_ids("bad")
    pairs = [as_text([text, text]) for text in TEXTS]
    read = encode(tokenizer, pairs, max_length=LENGTH)
    read_long_texts_(tokenizer, "head")
    assert read == encode(tokenizer, pairs, max_length=LENGTH)  # of a pair the longer text is cut, as before


def _counted(call, calls):
    def counted(*args, **options):
        calls.append(1)
        return call(*args, **options)

    return counted


def test_it_goes_with_the_tokenizer_and_plain_transformers_reads_on(tokenizer, folder, tmp_path):
    model = load_base(folder, labels=["a", "b"])
    save(model, tokenizer, tmp_path / "saved", card={"task": "classification"}, check_reload=False)
    again = load_tokenizer(tmp_path / "saved")
    assert long_texts_of(again) == "head_tail" and long_texts_of(load_tokenizer(folder)) == "head"
    assert encode(again, TEXTS, max_length=LENGTH) == encode(tokenizer, TEXTS, max_length=LENGTH)
    assert '"long_texts": "head_tail"' in (tmp_path / "saved/card.json").read_text(encoding="utf-8")
    plain = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert plain(TEXTS[1])["input_ids"] == tokenizer(TEXTS[1])["input_ids"]
    plain.save_pretrained(tmp_path / "by somebody else")
    assert long_texts_of(load_tokenizer(tmp_path / "by somebody else")) == "head_tail"
    save(model, load_tokenizer(folder), tmp_path / "head", card={}, check_reload=False)
    assert "long_texts" not in (tmp_path / "head/card.json").read_text(encoding="utf-8")


def test_what_nobody_knows_is_refused(tokenizer):
    tokenizer.init_kwargs["long_texts"] = "middle"
    with pytest.raises(
        ModelError, match="the tokenizer says long_texts='middle'; known here are head, head_tail, windows"
    ):
        encode(tokenizer, TEXTS, max_length=LENGTH)


def test_rows_of_a_smaller_vocabulary_are_what_its_tokenizer_reads(tokenizer, folder, tmp_path):
    texts = [" ".join(text for text, _ in sentences(3, seed=seed)) for seed in range(12)]
    columns = {"text": texts, "label": [0] * 12, "row": range(12)}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    assert tokenize(tmp_path / "rows.parquet", tokenizer=tokenizer, max_length=16, out=tmp_path / "a.arrow") == 12
    rows = read_tokens(tmp_path / "a.arrow")
    assert set(rows.lengths.tolist()) == {16}
    model = load_base(folder, labels=["a", "b"])
    counts = np.bincount(rows.values, minlength=len(tokenizer))
    cut = cut_vocabulary_(model, tokenizer, covering(counts, tokenizer, min_count=4))
    assert long_texts_of(cut) == "head_tail"
    table = remapping(tokenizer, cut, vocab_size=len(tokenizer))
    assert table.gone.any()
    found = remap(rows, table, max_length=16, long_texts="head_tail")
    again = encode(cut, texts, max_length=16)
    same = [found.ids(index).tolist() == ids for index, ids in enumerate(again.ids)]
    assert sum(same) >= 10  # a word at the gap may be spelled otherwise


def test_the_words_that_an_attack_may_swap_are_those_that_are_read(tokenizer):
    whole = whole_words(tokenizer, vocab_size=len(tokenizer))
    encoded = next(encoded_parts(tokenizer, TEXTS, max_length=None))
    flags = swappable_tokens(encoded, whole=whole, cut=lambda row: head_and_tail(row, LENGTH))
    values = np.concatenate(encode(tokenizer, TEXTS, max_length=LENGTH).ids)
    assert len(flags) == len(values) and flags.any()
    assert whole[values[flags]].all() and not flags[values == tokenizer.cls_token_id].any()
