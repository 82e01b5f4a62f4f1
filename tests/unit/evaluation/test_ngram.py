"""Interpolated Kneser-Ney on characters: a proper distribution, and a corpus small enough for paper."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.evaluation.ngram import END, UNKNOWN, NgramModel, perplexity

_TEXT = st.text(alphabet="abc好", max_size=6)


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(_TEXT, min_size=1, max_size=6), beginning=st.text(alphabet="abc好?", max_size=8))
def test_the_probabilities_of_all_symbols_sum_to_one(texts, beginning):
    found = NgramModel.fit(texts, order=3).distribution(beginning)
    assert found.sum() == pytest.approx(1.0)
    assert (found > 0).all()


def test_a_tiny_corpus_by_hand():
    """Bigrams of "ab" and "aab". Symbols: unknown, end, a, b.

    Bigrams: (start a) 2, (a b) 2, (a a) 1, (b end) 2; once 1, twice 3, D = 1 / (1 + 6) = 1/7.
    Unigrams count what stood before: a after {start, a} = 2, b after {a} = 1, end after {b} = 1; D = 2 / (2 + 2) = 1/2.
    """
    model = NgramModel.fit(["ab", "aab"], order=2)
    assert [order.discount for order in model.orders] == [0.5, pytest.approx(1 / 7)]
    left = 0.5 * 3 / 4 / 4  # three symbols gave up a half each of four; shared by four symbols
    unigram = {UNKNOWN: left, END: 0.5 / 4 + left, 2: 1.5 / 4 + left, 3: 0.5 / 4 + left}
    after_a = [
        (max(count - 1 / 7, 0) + 2 / 7 * unigram[symbol]) / 3
        for symbol, count in ((UNKNOWN, 0), (END, 0), (2, 1), (3, 2))
    ]
    assert model.distribution("a") == pytest.approx(after_a)
    at_start = [
        (max(count - 1 / 7, 0) + 1 / 7 * unigram[symbol]) / 2 for symbol, count in ((0, 0), (1, 0), (2, 2), (3, 0))
    ]
    assert model.distribution("") == pytest.approx(at_start)
    after_unknown = [unigram[symbol] for symbol in range(4)]
    assert model.distribution("?") == pytest.approx(after_unknown)


def test_the_loss_of_a_text_is_the_sum_over_its_symbols():
    model = NgramModel.fit(["好的酒店", "不好的书", "好书"], order=4)
    symbols = [int(model.code_points[ord(character)]) for character in "好的书"] + [END]
    steps = [model.distribution("好的书"[:place])[symbol] for place, symbol in enumerate(symbols)]
    losses = model.losses(["书", "好的书"])
    assert losses[1] == pytest.approx(-np.log(steps).sum())
    assert perplexity(losses[1:], ["好的书"]) == pytest.approx(float(np.exp(losses[1] / 4)))


def test_a_text_says_nothing_about_the_next_one():
    model = NgramModel.fit(["abab", "ba"], order=5)
    assert model.losses(["ba", "ab"])[1] == pytest.approx(model.losses(["ab"])[0])
    assert model.losses([]).tolist() == []


def test_characters_that_another_model_lacks_are_unknown_here_too():
    whole, same = NgramModel.fit(["aab", "abb"]), NgramModel.fit(["aab", "abb"], unknown={"b"})
    assert (whole.num_symbols, same.num_symbols) == (4, 3)
    assert same.losses(["ab"])[0] == pytest.approx(same.losses(["a?"])[0])
    assert (whole.unknown_share(["ab?"]), same.unknown_share(["ab?"])) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_a_longer_history_predicts_a_language_better():
    draw = random.Random(0)
    texts = ["".join(draw.choices(["kam", "mik", "tok", "rum"], k=4)) for _ in range(150)]
    training, held_out = texts[:120], texts[120:]
    found = [perplexity(NgramModel.fit(training, order=n).losses(held_out), held_out) for n in (1, 2, 3)]
    assert found[0] > found[1] > found[2]
