"""TF-IDF of words and characters with ridge regression, whose strength validation rows choose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge as Regression

from secateur.evaluation.metrics import FloatArray
from secateur.evaluation.tf_idf import (
    CHARACTERS,
    CHOOSING_CHARACTERS,
    MAX_CHARACTERS,
    WORDS,
    Features,
    features_for,
    fitted,
    thinned,
    transformed,
)
from secateur.statistics.numbers import NUMBERS

_STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1)


@dataclass(frozen=True)
class Ridge:
    """A fitted model.

    Attributes:
        name: what it is, with what was chosen.
        validation_r2: by which it was chosen.
    """

    name: str
    validation_r2: float
    _features: Features
    _model: Any

    def predict(self, texts: Sequence[str]) -> FloatArray:
        """Return the number of every text, (texts,)."""
        return np.asarray(self._model.predict(transformed(self._features, texts)), np.float64)


def fit_ridge(
    training: Sequence[str], numbers: FloatArray, *, validation: Sequence[str], validation_numbers: FloatArray
) -> Ridge:
    """Choose the strength by R² on validation rows, and fit it to the training rows; deterministic.

    The stronger regularisation wins between equal scores. Rows are thinned out as for ``tf_idf.fit``.

    Args:
        training: texts to learn from.
        numbers: of each.
        validation: texts that choose.
        validation_numbers: the same of these.
    """
    texts = np.asarray(training, dtype=object)
    alike = np.zeros(len(texts), np.int64)
    few = thinned(texts, alike, max_characters=CHOOSING_CHARACTERS)
    features = features_for(training[0])
    learned, judged = fitted(features, texts[few].tolist()), transformed(features, validation)
    scores = {
        strength: NUMBERS.of(validation_numbers, _model(strength).fit(learned, numbers[few]).predict(judged))["r2"]
        for strength in _STRENGTHS
    }
    strength = max(scores, key=lambda strength: scores[strength])  # the first of equal ones
    rows = thinned(texts, alike, max_characters=MAX_CHARACTERS)
    model = _model(strength).fit(fitted(features, texts[rows].tolist()), numbers[rows])
    of = "" if len(rows) == len(texts) else f", {len(rows)} of {len(texts)} training rows"
    name = (
        f"ridge regression (alpha={strength:g}) on TF-IDF of {WORDS[0]} to {WORDS[1]} words and {CHARACTERS[0]} to "
        f"{CHARACTERS[1]} characters{' of either text' if len(features) > 1 else ''}{of}"
    )
    return Ridge(name, scores[strength], features, model)


def _model(strength: float) -> Regression:
    return Regression(alpha=strength, solver="sparse_cg", tol=1e-4)
