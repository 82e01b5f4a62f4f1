"""TF-IDF of words and characters with logistic regression, whose strength validation rows choose.

What somebody would use who has no network, made as well as such a model is made: n-grams of words carry topics and
negations, those of characters endings and misspellings, and scripts without spaces. Labels count alike however rare
they are, as in the macro-F1 by which the settings are chosen. Of several labels per row each has a model of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, hstack
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from secateur.readers.pairs import texts_in
from secateur.statistics.f1 import macro_f1_of_rows

Features = tuple[tuple[TfidfVectorizer, ...], ...]
"""What counts words and characters: of the only texts, or of the first ones of pairs and of the second ones."""

WORDS = (1, 2)
CHARACTERS = (1, 4)
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
        each: one model per label.
    """

    strength: float
    validation_macro_f1: float
    rows: int
    given_rows: int
    num_texts: int = 1
    each: bool = False

    def describe(self) -> str:
        """Return the name of the model, with what was chosen."""
        of = "" if self.rows == self.given_rows else f", {self.rows} of {self.given_rows} training rows"
        return (
            f"{'one-vs-rest ' if self.each else ''}logistic regression (C={self.strength:g}) on TF-IDF of "
            f"{WORDS[0]} to {WORDS[1]} words and {CHARACTERS[0]} to {CHARACTERS[1]} characters"
            f"{' of either text' if self.num_texts > 1 else ''}{of}"
        )


@dataclass(frozen=True)
class TfIdf:
    """A fitted model.

    Attributes:
        settings: what was chosen.
    """

    settings: Settings
    _features: Features
    _classifier: "_Model"

    def predict(self, texts: Sequence[str]) -> Labels:
        """Return the index of the label of every text, (texts,); or 0 and 1 for every label, (texts, C)."""
        return self._classifier.predict(transformed(self._features, texts))


def fit(
    training: Sequence[str],
    labels: Sequence[int] | Labels,
    *,
    validation: Sequence[str],
    validation_labels: Sequence[int] | Labels,
    num_labels: int,
) -> TfIdf:
    """Choose the settings by macro-F1 on validation rows, and fit them to the training rows; deterministic.

    The weaker model wins between equal scores. Every setting is tried on at most ``CHOOSING_CHARACTERS`` of text, and
    the chosen one learns from at most ``MAX_CHARACTERS``.

    Args:
        training: texts to learn from, of at least two labels.
        labels: index of the label of each, or 0 and 1 for every label, (texts, C).
        validation: texts that choose.
        validation_labels: the same of these.
        num_labels: C.
    """
    texts, known = np.asarray(training, dtype=object), np.asarray(labels, np.int64)
    expected = np.asarray(validation_labels, np.int64)
    few = thinned(texts, known, max_characters=CHOOSING_CHARACTERS)
    features = features_for(training[0])
    learned, judged = fitted(features, texts[few].tolist()), transformed(features, validation)
    scores = {
        strength: _score(_Model.fitted(strength, learned, known[few]), judged, expected, num_labels=num_labels)
        for strength in _STRENGTHS
    }
    strength = max(scores, key=lambda strength: scores[strength])  # the first of equal ones
    rows = thinned(texts, known, max_characters=MAX_CHARACTERS)
    classifier = _Model.fitted(strength, fitted(features, texts[rows].tolist()), known[rows])
    size = {"rows": len(rows), "given_rows": len(texts), "num_texts": len(features)}
    settings = Settings(strength, scores[strength], **size, each=known.ndim == 2)
    return TfIdf(settings, features, classifier)


@dataclass(frozen=True)
class _Model:
    """One classifier of all labels, or one for each where a row may have several."""

    parts: Sequence[Any]
    each: bool

    @classmethod
    def fitted(cls, strength: float, features: csr_matrix, labels: Labels) -> "_Model":
        if labels.ndim == 1:
            return cls([_classifier(strength).fit(features, labels)], each=False)
        return cls([_of_label(strength, column).fit(features, column) for column in labels.T], each=True)

    def predict(self, features: csr_matrix) -> Labels:
        found = [np.asarray(part.predict(features), np.int64) for part in self.parts]
        return np.stack(found, axis=1) if self.each else found[0]


def _of_label(strength: float, column: Labels) -> Any:
    """Return what learns one label; one that all rows have, or none of them, needs no learning."""
    return _classifier(strength) if len(np.unique(column)) > 1 else DummyClassifier(strategy="most_frequent")


def _score(classifier: _Model, features: csr_matrix, expected: Labels, *, num_labels: int) -> float:
    return macro_f1_of_rows(expected, classifier.predict(features), num_labels=num_labels)


def _classifier(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, class_weight="balanced", max_iter=300, tol=_TOLERANCE)


def features_for(text: str) -> Features:
    """Return what counts words and characters of rows like this one, a pair's texts each by itself."""
    return tuple(_features() for _ in texts_in(text))


def _features() -> tuple[TfidfVectorizer, ...]:
    shared: dict[str, Any] = {"max_features": _MAX_FEATURES, "sublinear_tf": True, "dtype": np.float32}
    # Words of one letter and signs count too, so that every text has some.
    words = TfidfVectorizer(analyzer="word", ngram_range=WORDS, **shared, **{"token_pattern": _WORD})
    return words, TfidfVectorizer(analyzer="char", ngram_range=CHARACTERS, **shared)


def fitted(features: Features, texts: Sequence[str]) -> csr_matrix:
    """Let them see texts, and return what they count in these, (texts, features)."""
    return hstack([one.fit_transform(column) for one, column in _each(features, texts)]).tocsr()


def transformed(features: Features, texts: Sequence[str]) -> csr_matrix:
    """Return what they count in texts, (texts, features)."""
    return hstack([one.transform(column) for one, column in _each(features, texts)]).tocsr()


def _each(features: Features, texts: Sequence[str]) -> Iterator[tuple[TfidfVectorizer, Sequence[str]]]:
    """Yield everything that is counted, with the texts that it counts: of pairs the first ones, or the second ones."""
    columns = zip(*map(texts_in, texts), strict=True)
    return ((one, column) for of_column, column in zip(features, columns, strict=True) for one in of_column)


def thinned(texts: npt.NDArray[np.object_], labels: Labels, *, max_characters: int) -> Labels:
    """Return the places of all texts, or of so many of every label, at equal distances, that they are about as long."""
    total = sum(map(len, texts))
    if total <= max_characters:
        return np.arange(len(texts))
    groups = labels if labels.ndim == 1 else np.zeros(len(texts), np.int64)
    parts = [np.flatnonzero(groups == label) for label in np.unique(groups)]
    counts = [max(1, len(part) * max_characters // total) for part in parts]
    places = [
        part[np.linspace(0, len(part) - 1, count).round().astype(np.int64)]
        for part, count in zip(parts, counts, strict=True)
    ]
    return np.sort(np.concatenate(places))
