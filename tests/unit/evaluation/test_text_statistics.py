"""Variety, repetition and copying, against plain loops."""

import random

import pytest

from secateur.evaluation.text_statistics import copied_share, variety


def test_distinct_counts_over_all_texts_and_repetition_within_each():
    found = variety(["aaaaaa", "abcd", "ab"])
    assert found.distinct == (pytest.approx(4 / 12), pytest.approx(4 / 9), pytest.approx(3 / 6))
    assert found.repetition == pytest.approx((2 / 3 + 0.0) / 2), "a text of two tokens has no 4-gram and does not count"


def test_nothing_written_is_no_division_by_zero():
    assert variety([]).distinct == (0.0, 0.0, 0.0)
    assert copied_share([], ["a text"]) == 0.0
    assert copied_share(["short"], ["short"]) == 0.0


def test_copied_passages_are_found_as_a_plain_search_finds_them():
    draw = random.Random(0)
    training = ["".join(draw.choices("好坏酒店ab", k=draw.randrange(80))) for _ in range(50)]
    own = ["".join(draw.choices("好坏酒店ab", k=40)) for _ in range(10)]
    texts = own + [own[0][:10] + training[index][5:45] for index in range(10)]
    passages = [text[start : start + 20] for text in texts for start in range(len(text) - 19)]
    expected = sum(any(passage in text for text in training) for passage in passages) / len(passages)
    assert 0.1 < expected < 0.9
    assert copied_share(texts, training) == pytest.approx(expected)
    assert copied_share(texts, iter(training)) == copied_share(texts, training), "one pass is enough"


def test_a_passage_does_not_go_over_the_end_of_a_training_text():
    text = "一二三四五六七八九十甲乙丙丁戊己庚辛壬癸"
    assert copied_share([text], [text[:10], text[10:]]) == 0.0
    assert copied_share([text], [text]) == 1.0
