import copy

import numpy as np
import pytest

from secateur.models.surgery import widths_of
from secateur.pruning.vocabulary import Vocabulary, shared_vocabulary
from secateur.pruning.vocabulary_check import Judge, allowed_drop, choose_cut
from secateur.quality import MACRO_F1, PERPLEXITY
from tests.unit.pruning.test_vocabulary_of_a_round import FREQUENT, model_for, rows_of, tokenizer  # noqa: F401

_RARE = ["lovely"]


@pytest.fixture
def stand(tokenizer):  # noqa: F811
    """Return a vocabulary and what makes judges of it: "lovely" occurs three times, other words more often."""
    train = rows_of(tokenizer, [*FREQUENT * 3, *_RARE * 3])
    validation = rows_of(tokenizer, [*FREQUENT, *_RARE])
    tried = []

    def judge(scores, *, measure=MACRO_F1, before=0.9, max_drop=0.01):
        def score(model, rows):
            tried.append((model.config.vocab_size, rows))
            return scores[len(tried) - 1]

        return Judge(
            model=model_for(tokenizer),
            train=train,
            validation=validation,
            max_length=16,
            before=before,
            measure=measure,
            max_drop=max_drop,
            score=score,
        )

    return shared_vocabulary(tokenizer, tokenizer), judge, tried


def test_auto_takes_the_largest_cut_that_the_dense_model_bears(stand):
    vocabulary, judge, tried = stand
    cut = choose_cut(vocabulary, judge([0.8, 0.895]), asked="auto")
    assert (cut.asked, cut.min_count, cut.before, cut.after) == ("auto", 3, 0.9, 0.895)
    assert [size for size, _ in tried] == sorted(size for size, _ in tried)
    assert cut.tokens == tried[1][0] < cut.dense_tokens == len(vocabulary.dense)


def test_auto_keeps_all_tokens_where_every_cut_costs_too_much(stand):
    vocabulary, judge, tried = stand
    cut = choose_cut(vocabulary, judge([0.8, 0.8, 0.8, 0.8]), asked="auto")
    assert len(tried) == 4
    assert (cut.min_count, cut.tokens, cut.respelled, cut.after) == (0, len(vocabulary.dense), 0.0, 0.9)
    assert cut.summary().startswith(f"all {cut.tokens} tokens stay")


def test_a_promise_bounds_what_fewer_words_may_take():
    """The demo's r1 promises half a point; fewer words took 0.65 points of it, and every try was rolled back."""
    assert allowed_drop(0.01, promise=None) == 0.01
    assert allowed_drop(0.01, promise=0.005) == 0.0025
    assert allowed_drop(0.01, promise=0.03) == 0.01


def test_a_perplexity_may_grow_by_a_share(stand):
    vocabulary, judge, _ = stand
    cut = choose_cut(vocabulary, judge([103.0, 100.9], measure=PERPLEXITY, before=100.0), asked="auto")
    assert (cut.min_count, cut.after) == (3, 100.9)


def test_a_number_is_taken_whatever_it_costs_and_told(stand):
    vocabulary, judge, tried = stand
    cut = choose_cut(vocabulary, judge([0.2]), asked=5)
    assert len(tried) == 1
    assert (cut.min_count, cut.after) == (5, 0.2)
    assert "0.9000 -> 0.2000" in cut.summary()


def test_words_that_went_are_counted_on_validation_rows(stand):
    vocabulary, judge, tried = stand
    made = judge([0.9])
    cut = choose_cut(vocabulary, made, asked=4)
    lovely = vocabulary.dense.convert_tokens_to_ids("lovely")
    assert cut.respelled == pytest.approx(float(np.mean(made.validation.values == lovely)))
    assert cut.respelled > 0
    assert cut.unknown == 0.0, "its letters stay"
    assert len(tried[0][1].values) > len(made.validation.values)


def test_nothing_is_tried_where_nothing_is_to_go_or_tokens_are_gone(stand):
    vocabulary, judge, tried = stand
    assert choose_cut(vocabulary, judge([]), asked=0) is None
    made = judge([])
    narrow = vocabulary.narrowed_(copy.deepcopy(made.model), made.train, min_count=4)
    assert isinstance(narrow, Vocabulary)
    assert choose_cut(narrow, made, asked="auto") is None
    assert tried == []


def test_the_dense_model_is_left_as_it_is(stand):
    vocabulary, judge, _ = stand
    made = judge([0.9])
    before, size = widths_of(made.model), made.model.config.vocab_size
    choose_cut(vocabulary, made, asked=5)
    assert (widths_of(made.model), made.model.config.vocab_size) == (before, size)
