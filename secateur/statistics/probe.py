"""What vectors are good for: a linear classifier on them, for labels that their model knows nothing of."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from secateur.statistics.evenly import evenly

MAX_ROWS, MAX_LABELS = 20_000, 1_000
"""What is learned from, at most: the classifier holds a number for every row and label. Of more rows some are taken,
evenly spaced."""


def why_unprobed(labels: npt.NDArray[Any]) -> str | None:
    """Return why the labels of rows to learn from can tell nothing of vectors; None where they can."""
    taken = labels[evenly(len(labels), MAX_ROWS)]
    count = len(np.unique(taken))
    if count < 2:
        return f"all of {len(taken)} rows to learn from have one label; two or more would work"
    if count > MAX_LABELS or 2 * count > len(taken):
        return (
            f"{count} labels in {len(taken)} rows to learn from; {MAX_LABELS} at most, of two rows each on average, "
            "would work"
        )
    return None


def probe(
    vectors: npt.NDArray[Any], labels: npt.NDArray[Any], held: npt.NDArray[Any], held_labels: npt.NDArray[Any]
) -> float:
    """Return macro-F1 of logistic regression on vectors, in [0, 1].

    Args:
        vectors: to learn from, (N, E).
        labels: of each, (N,), as ``why_unprobed`` wants them.
        held: to judge by, (M, E).
        held_labels: of each, (M,).
    """
    rows = evenly(len(vectors), MAX_ROWS)
    classifier = LogisticRegression(class_weight="balanced", max_iter=300).fit(vectors[rows], labels[rows])
    return float(f1_score(held_labels, classifier.predict(held), average="macro", zero_division=0.0))
