"""Slices of the test set: who is in, and the scores on them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.data.text_rules import mask_handles, mask_links
from secateur.evaluation.slices import descriptions_of, slice_scores, slices_of


@given(st.lists(st.text(max_size=60), max_size=30))
def test_lengths_cover_every_text_exactly_once_and_equal_lengths_stay_together(texts):
    masks = slices_of(texts)
    parts = np.stack([masks[name] for name in ("short", "middle", "long")])
    assert parts.sum(axis=0).tolist() == [1] * len(texts)
    for text, row in zip(texts, parts.T, strict=True):
        assert all(np.array_equal(row, other) for o, other in zip(texts, parts.T, strict=True) if len(o) == len(text))
    assert list(descriptions_of(texts)) == list(masks)


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("link", "see https://a.b/C1!?", "see a.b, httpd"),
        ("handle", "to @Ann!", "mail ann@b.org @ noon"),
        ("hashtag", "so #true", "number # 1"),
        ("digits", "gate 7", "gate seven"),
        ("emoji", "good \U0001f600", "good :)"),
        ("non_ascii", "caf\u00e9", "cafe \u2014 5 \u20ac"),
        ("capitals", "so BAD today", "at an LA gate"),
        ("stretched", "soooo late", "so 1000 --- too"),
        ("exclamation", "\u597d\uff01", "good"),
        ("question", "\u597d\u5417\uff1f", "good"),
    ],
)
def test_rules_tell_texts_apart(name, inside, outside):
    assert slices_of([inside, outside])[name].tolist() == [True, False]


def test_cleaning_keeps_the_slices_of_links_and_handles():
    raw = ["@Ann look at https://t.co/X1?", "plain"]
    cleaned = [mask_links(mask_handles(text)) for text in raw]
    assert cleaned[0] == "@user look at http"
    for name in ("link", "handle"):
        assert slices_of(cleaned)[name].tolist() == slices_of(raw)[name].tolist() == [True, False]
    assert not slices_of(raw)["digits"].any()  # what stands inside a link is nobody's words


def test_scores_of_a_slice_by_hand_and_labels_that_do_not_occur_are_left_out_of_the_mean():
    masks = {"all": np.ones(4, np.bool_), "part": np.array([True, True, False, False]), "none": np.zeros(4, np.bool_)}
    labels, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    scores = slice_scores(masks, labels=labels, predicted=predicted, num_labels=3)
    assert list(scores) == ["all", "part"]
    assert (scores["all"].rows, scores["all"].accuracy) == (4, 0.75)
    assert scores["all"].macro_f1 == pytest.approx((2 / 3 + 1.0) / 2)
    assert scores["part"].macro_f1 == pytest.approx(2 / 3)
    assert list(slice_scores(masks, labels=labels, predicted=predicted, num_labels=3, min_rows=3)) == ["all"]
