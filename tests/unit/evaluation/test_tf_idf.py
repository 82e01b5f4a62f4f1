import numpy as np
import pytest

from secateur.evaluation import tf_idf
from secateur.evaluation.tf_idf import fit
from tests.tiny import sentences


def _rows(count, *, seed, num_labels=2):
    pairs = sentences(count, seed=seed, num_labels=num_labels)
    names = sorted({label for _, label in pairs})
    return [text for text, _ in pairs], [names.index(label) for _, label in pairs]


def _fitted(texts, labels, *, seed=1):
    validation, expected = _rows(60, seed=seed)
    return fit(texts, labels, validation=validation, validation_labels=expected, num_labels=2)


def test_it_learns_and_says_what_was_chosen():
    model = _fitted(*_rows(120, seed=0))
    texts, labels = _rows(60, seed=2)
    assert np.mean(model.predict(texts) == labels) > 0.95
    assert model.settings.rows == model.settings.given_rows == 120
    assert model.settings.describe() == (
        f"logistic regression (C={model.settings.strength:g}) on TF-IDF of 1 to 2 words and 1 to 4 characters"
    )


def test_validation_rows_choose():
    texts, labels = _rows(120, seed=0)
    learned = _fitted(texts, labels)
    turned = fit(texts, labels, validation=texts, validation_labels=[1 - label for label in labels], num_labels=2)
    assert learned.settings.validation_macro_f1 > 0.9
    assert turned.settings.validation_macro_f1 < 0.1, "a score on the rows that it learned from would be 1"


def test_same_rows_same_model():
    texts, labels = _rows(120, seed=0)
    first, again = _fitted(texts, labels), _fitted(texts, labels)
    assert first.settings == again.settings
    one, other = (model._classifier.parts[0].coef_ for model in (first, again))
    assert np.array_equal(one, other)


def test_many_rows_are_thinned_out_by_label(monkeypatch):
    texts, labels = _rows(120, seed=0)
    texts, labels = [*texts, "one of a third label"], [*labels, 2]
    monkeypatch.setattr(tf_idf, "MAX_CHARACTERS", sum(map(len, texts)) // 3)
    validation, expected = _rows(60, seed=1)
    model = fit(texts, labels, validation=validation, validation_labels=expected, num_labels=3)
    assert model.settings.rows == 39, "19 of each, a third less one, and the only one of its label"
    assert model.settings.describe().endswith(", 39 of 121 training rows")


@pytest.mark.parametrize(
    "texts", [["很好很好", "非常好吃", "好", "太差了", "差评", "很差"], ["!!", ":)", ":-)", ":(", ":-(", "?"]]
)
def test_scripts_without_spaces_and_texts_without_letters(texts):
    model = fit(texts, [1, 1, 1, 0, 0, 0], validation=texts, validation_labels=[1, 1, 1, 0, 0, 0], num_labels=2)
    assert model.predict(texts).tolist() == [1, 1, 1, 0, 0, 0]
