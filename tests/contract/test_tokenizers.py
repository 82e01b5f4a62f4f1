"""What holds for every kind of tokenizer whose vocabulary can be cut."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase

from secateur.data.tokens import from_lists
from secateur.models.vocabulary import covering, cut_vocabulary_, remap, remapping
from tests.tiny_models import tiny_config
from tests.tiny_tokenizers import TEXTS, TOKENIZERS

pytestmark = pytest.mark.parametrize("kind", TOKENIZERS)

OTHERS = (*TEXTS, "žluťoučký kůň", "日本語 テスト", "naïve café 🤖", "Щука")


def cut_to(tokenizer: PreTrainedTokenizerBase, texts: list[str], *, min_count: int = 3) -> PreTrainedTokenizerBase:
    """Cut the vocabulary to what these texts use often."""
    config = tiny_config("bert")
    config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    ids = [number for text in texts for number in tokenizer(text).input_ids]
    counts = np.bincount(ids, minlength=len(tokenizer)).astype(np.int64)
    return cut_vocabulary_(model, tokenizer, covering(counts, tokenizer, min_count=min_count))


def unknown(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    return tokenizer(text).input_ids.count(tokenizer.unk_token_id)


def decoded(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    return tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True)


@pytest.mark.parametrize("used", [TEXTS[:1] * 3, TEXTS[1:3] * 3, ["a"]], ids=["one script", "two scripts", "nothing"])
def test_a_cut_vocabulary_writes_what_the_whole_one_did(kind, used):
    tokenizer = TOKENIZERS[kind]()
    cut = cut_to(tokenizer, list(used))
    assert len(cut) < len(tokenizer)
    for text in OTHERS:
        assert unknown(cut, text) == unknown(tokenizer, text), text
        assert decoded(cut, text) == decoded(tokenizer, text), text


def test_a_text_of_kept_tokens_is_cut_into_the_same_ones(kind):
    tokenizer = TOKENIZERS[kind]()
    cut = cut_to(tokenizer, list(TEXTS[1:3]) * 3)
    for text in TEXTS[1:3]:
        assert cut.tokenize(text) == tokenizer.tokenize(text), text


def test_rows_are_translated_without_an_unknown_token(kind):
    tokenizer = TOKENIZERS[kind]()
    cut = cut_to(tokenizer, list(TEXTS[:1]) * 3)
    rows = from_lists([tokenizer(text).input_ids for text in OTHERS], labels=[0] * len(OTHERS))
    found = remap(rows, remapping(tokenizer, cut, vocab_size=len(tokenizer)))
    for number, text in enumerate(OTHERS):
        ids = found.ids(number).tolist()
        assert ids.count(cut.unk_token_id) == unknown(tokenizer, text), text
        assert cut.decode(ids, skip_special_tokens=True) == decoded(tokenizer, text), text


def test_words_are_spelled_as_their_text_would_be(kind):
    """BPE: token by token, because rows do not say where words end."""
    if kind not in ("word pieces", "unigram"):
        pytest.skip("rows do not say where words end")
    tokenizer = TOKENIZERS[kind]()
    known = [text for text in OTHERS if unknown(tokenizer, text) == 0]
    cut = cut_to(tokenizer, list(TEXTS[:1]) * 3)
    rows = from_lists([tokenizer(text).input_ids for text in known], labels=[0] * len(known))
    found = remap(rows, remapping(tokenizer, cut, vocab_size=len(tokenizer)))
    assert [found.ids(number).tolist() for number in range(len(known))] == [cut(text).input_ids for text in known]
