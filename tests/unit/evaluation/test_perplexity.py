"""Perplexity: every token once, windows with what is given in front, documents as the unit of the interval."""

import numpy as np
import pytest
import torch

from secateur.data.documents import Document, TextRow, documents_of, given_ids
from secateur.evaluation.perplexity import DocumentLosses, document_losses, perplexities
from secateur.inference.language_model import TorchLanguageModel
from tests.tiny_generators import CONTROLS, character_tokenizer, llama


@pytest.fixture(scope="module")
def tokenizer():
    return character_tokenizer()


@pytest.fixture(scope="module")
def model(tokenizer):
    return llama(len(tokenizer))


def losses_of(model, documents, *, context=64, batch_size=3):
    return document_losses(TorchLanguageModel(model), documents, context=context, batch_size=batch_size)


def by_hand(model, ids, scored):
    """Minus the log-probability of the last ``scored`` tokens of one window."""
    with torch.inference_mode():
        steps = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0].double(), dim=-1)
    return -sum(float(steps[place - 1, ids[place]]) for place in range(len(ids) - scored, len(ids)))


def test_a_document_starts_with_begin_and_its_control_token(tokenizer):
    (document,) = documents_of([TextRow(7, "好书?", "positive")], tokenizer, controls=CONTROLS)
    assert tokenizer.convert_ids_to_tokens(document.given) == ["<|begin|>", "<|positive|>"]
    assert tokenizer.convert_ids_to_tokens(document.predicted) == ["好", "书", "<|unknown|>", "<|end|>"]
    assert document.num_characters == 4
    assert given_ids(tokenizer, controls={}, label="positive") == given_ids(tokenizer, controls={}) == (2,)


def test_losses_are_those_of_each_document_alone(model, tokenizer):
    texts = ["好", "酒店很好", "", "服务太坏了，不好。"]
    documents = documents_of([TextRow(0, text, "negative") for text in texts], tokenizer, controls=CONTROLS)
    found = losses_of(model, documents)
    for loss, document in zip(found.losses, documents, strict=True):
        ids = [*document.given, *document.predicted]
        assert loss == pytest.approx(by_hand(model, ids, len(document.predicted)), rel=1e-5)
    assert found.tokens.tolist() == [len(text) + 1 for text in texts] == found.characters.tolist()
    assert found.loss == pytest.approx(found.losses.sum() / sum(found.tokens))


def test_a_long_document_is_read_in_windows_that_all_see_what_is_given(model):
    document = Document(given=(2, 5), predicted=tuple(range(6, 21)), num_characters=15)
    found = losses_of(model, [document], context=10).losses[0]
    body = document.predicted
    expected = by_hand(model, [2, 5, *body[:8]], 8)
    expected += by_hand(model, [2, 5, *body[4:12]], 4)
    expected += by_hand(model, [2, 5, *body[7:15]], 3)
    assert found == pytest.approx(expected, rel=1e-5)


def test_batches_do_not_change_the_losses(model, tokenizer):
    rows = [TextRow(0, "酒店服务房间"[: 1 + place % 6] * (1 + place % 4), None) for place in range(9)]
    documents = documents_of(rows, tokenizer, controls={})
    together, alone = (losses_of(model, documents, context=16, batch_size=size).losses for size in (9, 1))
    assert together == pytest.approx(alone, rel=1e-5)


def test_perplexities_are_exponentials_of_means_per_token_and_per_character():
    found = DocumentLosses(np.array([6.0, 3.0]), tokens=np.array([2, 1]), characters=np.array([4, 5]))
    values = perplexities(found, samples=100, level=0.95, seed=0)
    assert values["perplexity"].value == pytest.approx(np.exp(3.0))
    assert values["perplexity"].low == values["perplexity"].high == pytest.approx(np.exp(3.0)), "all texts are alike"
    assert values["char_perplexity"].value == pytest.approx(np.exp(1.0))
    assert values["char_perplexity"].low == pytest.approx(np.exp(3 / 5))
    assert values["char_perplexity"].high == pytest.approx(np.exp(6 / 4))


def test_the_interval_covers_and_the_draw_repeats():
    draw = np.random.default_rng(0)
    tokens = draw.integers(5, 40, size=400)
    found = DocumentLosses(tokens * draw.normal(3.0, 0.5, size=400), tokens=tokens, characters=tokens)
    first, again = (perplexities(found, samples=400, level=0.95, seed=3)["perplexity"] for _ in range(2))
    assert first == again
    assert first.low < first.value < first.high
    spread = 0.5 * np.sqrt((tokens**2).sum()) / tokens.sum()  # standard error of the mean loss
    assert np.log(first.high / first.low) == pytest.approx(2 * 1.96 * spread, rel=0.2)
