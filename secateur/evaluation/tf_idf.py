"""TF-IDF of words and characters with logistic regression, whose strength validation rows choose.

What somebody would use who has no network, made as well as such a model is made: n-grams of words carry topics and
negations, those of characters endings and misspellings, and scripts without spaces. Labels count alike however rare
they are, as in the macro-F1 by which the settings are chosen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from secateur.evaluation.metrics import confusion, macro_f1
from secateur.readers.pairs import texts_in

Features = tuple[tuple[TfidfVectorizer, ...], ...]
"""What counts words and characters: of the only texts, or of the first ones of pairs and of the second ones."""

_WORDS = (1, 2)
_CHARACTERS = (1, 4)
_STRENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
_WORD = r"(?u)\w+|[^\w\s]+"
_MAX_FEATURES = 200_000  # of words and of characters, the most frequent ones
_TOLERANCE = 1e-3  # in two thirds of the steps of the default, to the same third digit

MAX_CHARACTERS = 10_000_000
"""Of the rows that are learned from; more are thinned out evenly, so that 600 000 rows take no longer than 100 000."""

CHOOSING_CHARACTERS = 1_000_000
"""Of the rows that every strength is tried on."""

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Settings:
    """What was chosen.

    Attributes:
        strength: inverse strength of the L2 regularisation (``C``).
        validation_macro_f1: by which it was chosen.
        rows: that were learned from.
        given_rows: that there were.
        num_texts: of a row; those of a pair are counted each by itself.
    """

    strength: float
    validation_macro_f1: float
    rows: int
    given_rows: int
    num_texts: int = 1

    def describe(self) -> str:
        """Return the name of the model, with what was chosen."""
        of = "" if self.rows == self.given_rows else f", {self.rows} of {self.given_rows} training rows"
        return (
            f"logistic regression (C={self.strength:g}) on TF-IDF of {_WORDS[0]} to {_WORDS[1]} words "
            f"and {_CHARACTERS[0]} to {_CHARACTERS[1]} characters{' of either text' if self.num_texts > 1 else ''}{of}"
        )


@dataclass(frozen=True)
class TfIdf:
    """A fitted model.

    Attributes:
        settings: what was chosen.
    """

    settings: Settings
    _features: Features
    _classifier: LogisticRegression

    def predict(self, texts: Sequence[str]) -> Labels:
        """Return the index of the label of every text, (texts,)."""
        return np.asarray(self._classifier.predict(_transformed(self._features, texts)), np.int64)


def fit(
    training: Sequence[str],
    labels: Sequence[int],
    *,
    validation: Sequence[str],
    validation_labels: Sequence[int],
    num_labels: int,
) -> TfIdf:
    """Choose the settings by macro-F1 on validation rows, and fit them to the training rows; deterministic.

    The weaker model wins between equal scores. Every setting is tried on at most ``CHOOSING_CHARACTERS`` of text, and
    the chosen one learns from at most ``MAX_CHARACTERS``.

    Args:
        training: texts to learn from, of at least two labels.
        labels: index of the label of each.
        validation: texts that choose.
        validation_labels: index of the label of each.
        num_labels: C.
    """
    texts, known = np.asarray(training, dtype=object), np.asarray(labels, np.int64)
    expected = np.asarray(validation_labels, np.int64)
    few = _thinned(texts, known, max_characters=CHOOSING_CHARACTERS)
    features = tuple(_features() for _ in texts_in(training[0]))
    learned, judged = _fitted(features, texts[few].tolist()), _transformed(features, validation)
    scores = {
        strength: _score(_classifier(strength).fit(learned, known[few]), judged, expected, num_labels=num_labels)
        for strength in _STRENGTHS
    }
    strength = max(scores, key=lambda strength: scores[strength])  # the first of equal ones
    rows = _thinned(texts, known, max_characters=MAX_CHARACTERS)
    classifier = _classifier(strength).fit(_fitted(features, texts[rows].tolist()), known[rows])
    settings = Settings(strength, scores[strength], len(rows), len(texts), num_texts=len(features))
    return TfIdf(settings, features, classifier)


def _score(classifier: LogisticRegression, features: csr_matrix, expected: Labels, *, num_labels: int) -> float:
    found = np.asarray(classifier.predict(features), np.int64)
    return float(macro_f1(confusion(expected, found, num_labels=num_labels)))


def _classifier(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, class_weight="balanced", max_iter=300, tol=_TOLERANCE)


def _features() -> tuple[TfidfVectorizer, ...]:
    shared: dict[str, Any] = {"max_features": _MAX_FEATURES, "sublinear_tf": True, "dtype": np.float32}
    # Words of one letter and signs count too, so that every text has some.
    words = TfidfVectorizer(analyzer="word", ngram_range=_WORDS, **shared, **{"token_pattern": _WORD})
    return words, TfidfVectorizer(analyzer="char", ngram_range=_CHARACTERS, **shared)


def _fitted(features: Features, texts: Sequence[str]) -> csr_matrix:
    return hstack([one.fit_transform(column) for one, column in _each(features, texts)]).tocsr()


def _transformed(features: Features, texts: Sequence[str]) -> csr_matrix:
    return hstack([one.transform(column) for one, column in _each(features, texts)]).tocsr()


def _each(features: Features, texts: Sequence[str]) -> Iterator[tuple[TfidfVectorizer, Sequence[str]]]:
    """Yield everything that is counted, with the texts that it counts: of pairs the first ones, or the second ones."""
    columns = zip(*map(texts_in, texts), strict=True)
    return ((one, column) for of_column, column in zip(features, columns, strict=True) for one in of_column)


def _thinned(texts: npt.NDArray[np.object_], labels: Labels, *, max_characters: int) -> Labels:
    """Return the places of all texts, or of so many of every label, at equal distances, that they are about as long."""
    total = sum(map(len, texts))
    if total <= max_characters:
        return np.arange(len(texts))
    parts = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    counts = [max(1, len(part) * max_characters // total) for part in parts]
    places = [
        part[np.linspace(0, len(part) - 1, count).round().astype(np.int64)]
        for part, count in zip(parts, counts, strict=True)
    ]
    return np.sort(np.concatenate(places))
