import hashlib
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.data.near_duplicates import agreeing, first_of_equal, jaccard, linked, representatives
from secateur.data.signatures import band_keys, buckets_of, rows_per_band, signatures_of

WORDS = ["the", "driver", "flight", "was", "late", "again", "and", "nobody", "said", "why", "for", "hours", "gate"]


def varied(num, *, seed):
    """Texts of which every second is an earlier one with a word or two exchanged."""
    draw = random.Random(seed)
    texts = []
    for i in range(num):
        words = draw.choices(WORDS, k=draw.randint(4, 25)) if i % 2 == 0 else draw.choice(texts).split()
        for _ in range(draw.randint(0, 2)):
            words[draw.randrange(len(words))] = draw.choice(WORDS)
        texts.append(" ".join(words))
    return texts


def components_by_comparing_all(texts, *, threshold):
    folded = [text.casefold() for text in texts]
    parents = list(range(len(texts)))

    def root(i):
        while parents[i] != i:
            i = parents[i]
        return i

    for i in range(len(texts)):
        for j in range(i):
            if folded[i] == folded[j] or (threshold < 1 and jaccard(folded[i], folded[j]) >= threshold):
                a, b = root(i), root(j)
                parents[max(a, b)] = min(a, b)
    return [root(i) for i in range(len(texts))]


def test_the_similarity_by_hand():
    # abcde bcdef / abcde bcdeg: one shared of three.
    assert jaccard("abcdef", "abcdeg") == pytest.approx(1 / 3)
    assert jaccard("abc", "abc") == 1.0
    assert jaccard("abc", "abd") == 0.0


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95, 1.0])
def test_it_agrees_with_comparing_all_pairs(threshold):
    texts = varied(400, seed=3)
    expected = components_by_comparing_all(texts, threshold=threshold)
    assert len(set(expected)) < len(texts)
    assert representatives(texts, threshold=threshold).tolist() == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(alphabet="abAß好 ", max_size=12), max_size=12), st.sampled_from([0.3, 0.8, 1.0]))
def test_short_and_odd_texts_agree_too(texts, threshold):
    assert representatives(texts, threshold=threshold).tolist() == components_by_comparing_all(
        texts, threshold=threshold
    )


def test_chinese_needs_no_words():
    texts = ["这家酒店的服务非常好，下次还会再来住的", "这家酒店的服务非常好，下次还会再来住", "房间太小，价格太贵了"]
    assert representatives(texts, threshold=0.8).tolist() == [0, 0, 2]


def test_many_texts_from_one_template_stay_apart():
    texts = [f"your parcel number {i:05d} of today was sent to the address you gave us" for i in range(0, 30000, 37)]
    found = representatives(texts, threshold=0.99)
    assert np.array_equal(found, np.arange(len(texts)))


@pytest.mark.parametrize(("threshold", "rows"), [(0.8, 5), (0.5, 2)])
def test_bands_are_as_narrow_as_recall_asks(threshold, rows):
    assert rows_per_band(threshold) == rows


@given(st.lists(st.sampled_from(["a", "A", "", "ß", "ss", "SS", "\ud800", "b"]), max_size=12))
def test_equal_texts_have_the_first_of_them(texts):
    folded = [text.casefold() for text in texts]
    assert first_of_equal(texts).tolist() == [folded.index(text) for text in folded]


def filled(num, *, forms, seed):
    """Texts from a few forms, in which a word to three are numbers."""
    draw = random.Random(seed)
    of = [draw.choices(WORDS, k=12) for _ in range(forms)]
    texts = []
    for _ in range(num):
        words = list(draw.choice(of))
        for _ in range(draw.randint(1, 3)):
            words[draw.randrange(12)] = str(draw.randrange(1000))
        texts.append(" ".join(words))
    return texts


def test_the_order_of_bands_is_part_of_what_stays():
    """Rows of every project depend on it: its change would be other data without a word."""
    texts = filled(2000, forms=4, seed=1)
    found = representatives(texts, threshold=0.8, num_chars=5)
    assert hashlib.sha256(found.astype("<i8").tobytes()).hexdigest()[:16] == "a0b01cf13f38cc97"
    parents = first_of_equal(texts)
    distinct = np.flatnonzero(parents == np.arange(len(parents)))
    held = [texts[i] for i in distinct]
    signatures = signatures_of(held, num_chars=5)
    bands = [*map(buckets_of, band_keys(signatures, rows_per_band(0.8)))]
    for order, same in ((bands, True), (bands[::-1], False)):
        again = linked(parents, distinct, held, order, agreeing(signatures), threshold=0.8, num_chars=5)
        assert np.array_equal(again, found) == same
