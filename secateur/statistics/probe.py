"""What vectors are good for: a linear classifier on them, for labels that their model knows nothing of."""

from typing import Any

import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score


def probe(
    vectors: npt.NDArray[Any], labels: npt.NDArray[Any], held: npt.NDArray[Any], held_labels: npt.NDArray[Any]
) -> float:
    """Return macro-F1 of logistic regression on vectors, in [0, 1].

    Args:
        vectors: to learn from, (N, E).
        labels: of each, (N,), two or more.
        held: to judge by, (M, E).
        held_labels: of each, (M,).
    """
    classifier = LogisticRegression(class_weight="balanced", max_iter=300).fit(vectors, labels)
    return float(f1_score(held_labels, classifier.predict(held), average="macro", zero_division=0.0))
