import copy

import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from secateur.data.tokens import TokenRows, from_lists
from secateur.pruning.vocabulary import Vocabulary, shared_vocabulary
from secateur.training.objectives import logits_of
from tests.tiny import write_bert
from tests.tiny_models import tiny_config

FREQUENT = ["good day", "bad day", "the good train", "the bad train"]
RARE = "lovely walk"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> PreTrainedTokenizerBase:
    from secateur.models.checkpoint import load_tokenizer

    return load_tokenizer(write_bert(tmp_path_factory.mktemp("base") / "bert"))


def model_for(tokenizer: PreTrainedTokenizerBase, *, padding: int = 0) -> PreTrainedModel:
    config = tiny_config("bert", num_layers=2)
    config.vocab_size = len(tokenizer) + padding
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(config).eval()


def rows_of(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> TokenRows:
    return from_lists(tokenizer(texts).input_ids, labels=[0] * len(texts))


def narrowed(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> Vocabulary:
    rows = rows_of(tokenizer, [*FREQUENT, RARE])
    return shared_vocabulary(tokenizer, tokenizer).narrowed_(model, rows, min_count=2)


def test_equal_tokenizers_share_everything(tokenizer):
    vocabulary, rows = shared_vocabulary(tokenizer, copy.deepcopy(tokenizer)), rows_of(tokenizer, FREQUENT)
    assert vocabulary.table is None
    assert vocabulary.dense_ids is None
    assert vocabulary.translate(rows, max_length=16) is rows


def test_a_count_of_0_keeps_all(tokenizer):
    model = model_for(tokenizer)
    vocabulary = shared_vocabulary(tokenizer, tokenizer)
    assert vocabulary.narrowed_(model, rows_of(tokenizer, FREQUENT), min_count=0) is vocabulary
    assert model.config.vocab_size == len(tokenizer)


@pytest.mark.parametrize("padding", [0, 13])
def test_rare_tokens_go_and_covered_rows_keep_their_logits(tokenizer, padding):
    """Also where the embeddings have rows that no token uses, as those of models padded to a multiple of 64."""
    model = model_for(tokenizer, padding=padding)
    covered = rows_of(tokenizer, FREQUENT)
    expected = logits_of(model, covered, batch_size=8, precision="fp32")
    vocabulary = narrowed(tokenizer, model)
    kept = set(vocabulary.tokenizer.get_vocab())
    assert {"good", "bad", "day", "train", "the", "[PAD]", "[MASK]", "a", "##z"} <= kept
    assert not {"lovely", "walk", "river"} & kept
    assert model.config.vocab_size == len(vocabulary.tokenizer) == len(kept)
    found = logits_of(model, vocabulary.translate(covered, max_length=16), batch_size=8, precision="fp32")
    assert torch.equal(found, expected)


def test_ids_lead_back_to_the_dense_model(tokenizer):
    model = model_for(tokenizer)
    embeddings = model.get_input_embeddings().weight.detach().clone()
    vocabulary = narrowed(tokenizer, model)
    ids = vocabulary.dense_ids
    assert ids is not None and ids.dtype == torch.int64
    assert torch.equal(model.get_input_embeddings().weight, embeddings[ids])
    tokens = tokenizer.convert_ids_to_tokens(ids.tolist())
    assert tokens == vocabulary.tokenizer.convert_ids_to_tokens(list(range(len(ids))))


def test_rows_are_translated_as_the_new_tokenizer_reads_them_and_cut_to_length(tokenizer):
    vocabulary = narrowed(tokenizer, model_for(tokenizer))
    texts = [RARE, "good lovely day", *FREQUENT]
    rows = vocabulary.translate(rows_of(tokenizer, texts), max_length=99)
    assert [rows.ids(index).tolist() for index in range(len(rows))] == vocabulary.tokenizer(texts).input_ids
    short = vocabulary.translate(rows_of(tokenizer, texts), max_length=7)
    assert max(short.lengths) == 7
    assert all(int(short.ids(index)[-1]) == vocabulary.tokenizer.sep_token_id for index in range(len(short)))


def test_an_earlier_round_decided_already(tokenizer):
    model = model_for(tokenizer)
    first = narrowed(tokenizer, model)
    later = shared_vocabulary(tokenizer, first.tokenizer)
    size = model.config.vocab_size
    assert later.narrowed_(model, rows_of(tokenizer, ["good"] * 9), min_count=5) is later
    assert model.config.vocab_size == size
    rows = rows_of(tokenizer, [RARE])
    assert later.translate(rows, max_length=16).ids(0).tolist() == first.translate(rows, max_length=16).ids(0).tolist()
