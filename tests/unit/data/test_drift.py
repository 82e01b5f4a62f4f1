"""Drift: nothing is found between two draws of the same rows, and each kind of shift is found where it is."""

import math

import numpy as np
import pytest

from secateur.data.drift import added_rows, compare, embedding_shift, findings, population_stability
from secateur.data.profile import LabelledTexts

_WORDS = [f"word{i}" for i in range(50)]


def _rows(count: int, *, seed: int, positive: float = 0.5, words: list[str] = _WORDS, length: int = 8) -> LabelledTexts:
    draw = np.random.default_rng(seed)
    texts = [" ".join(draw.choice(words, size=int(draw.integers(length // 2, length)))) for _ in range(count)]
    return LabelledTexts(texts, ["positive" if draw.random() < positive else "negative" for _ in range(count)])


def test_two_draws_of_the_same_rows_do_not_drift() -> None:
    parts = compare(_rows(600, seed=0), _rows(600, seed=1))
    assert findings(parts) == []
    assert parts["rows"] == {"reference": 600, "current": 600}


@pytest.mark.parametrize(
    ("shifted", "part"),
    [
        (_rows(600, seed=1, positive=0.9), "labels"),
        (_rows(600, seed=1, length=30), "lengths"),
        (_rows(600, seed=1, words=[*_WORDS, *(f"other{i}" for i in range(30))]), "vocabulary"),
    ],
)
def test_each_shift_is_found_where_it_is(shifted: LabelledTexts, part: str) -> None:
    parts = compare(_rows(600, seed=0), shifted)
    drifted = [name for name in ("labels", "lengths", "vocabulary") if parts[name]["drifted"]]
    # Longer words make longer texts.
    assert part in drifted
    assert set(drifted) <= {part, "lengths"}
    assert findings(parts)


def test_population_stability_by_hand() -> None:
    before, now = np.array([29.5, 9.5]), np.array([9.5, 29.5])
    # With half a row added: shares 0.75 and 0.25, and the reverse.
    assert population_stability(before, now) == pytest.approx(0.5 * math.log(3) * 2)
    assert population_stability(before, before) == 0.0


def test_new_words_are_counted_by_use_and_named() -> None:
    before = LabelledTexts(["one two", "two"], ["a", "b"])
    parts = compare(before, LabelledTexts(["one three three", "four 好"], ["a", "b"]))
    assert parts["vocabulary"]["new_token_share"] == pytest.approx(4 / 5)
    assert parts["vocabulary"]["new_tokens"] == ["three", "four", "好"]


def test_scripts_without_spaces_are_compared_by_character() -> None:
    parts = compare(LabelledTexts(["今天很好"], ["a"]), LabelledTexts(["很好今天"], ["a"]))
    assert parts["vocabulary"]["new_token_share"] == 0.0
    assert parts["vocabulary"]["jensen_shannon"] == 0.0


def test_a_label_that_appears_is_in_the_shares() -> None:
    parts = compare(LabelledTexts(["a b"] * 10, ["x"] * 10), LabelledTexts(["a b"] * 10, ["x"] * 5 + ["y"] * 5))
    assert parts["labels"]["shares"] == {
        "x": {"reference": 1.0, "current": 0.5},
        "y": {"reference": 0.0, "current": 0.5},
    }
    assert parts["labels"]["drifted"]


def test_embeddings_of_one_distribution_are_not_told_apart() -> None:
    draw = np.random.default_rng(0)
    found = embedding_shift(draw.normal(size=(300, 64)), draw.normal(size=(300, 64)), seed=0)
    assert found is not None
    assert found["auc"] == pytest.approx(0.5, abs=0.08)
    assert not found["drifted"]


def test_embeddings_that_moved_are() -> None:
    draw = np.random.default_rng(0)
    found = embedding_shift(draw.normal(size=(300, 64)), draw.normal(0.3, size=(300, 64)), seed=0)
    assert found is not None
    assert found["drifted"]
    assert found["auc"] > 0.8


def test_few_embeddings_say_nothing() -> None:
    assert embedding_shift(np.zeros((19, 4)), np.zeros((300, 4)), seed=0) is None


def test_added_rows_are_those_whose_text_or_label_is_new() -> None:
    before = LabelledTexts(["a", "b"], ["x", "y"])
    added = added_rows(before, LabelledTexts(["a", "b", "c"], ["x", "x", "y"]))
    assert (list(added.texts), list(added.labels)) == (["b", "c"], ["x", "y"])
