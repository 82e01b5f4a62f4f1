"""What a classifier says of somebody's rows, and what it is worth on them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from secateur.data.labelled import as_known, indices_of
from secateur.evaluation.metrics import FloatArray, IntArray, Interval, bootstrap, confusion
from secateur.evaluation.row_scores import Measured
from secateur.inference.answers import Answers
from secateur.inference.prediction import Predictor, read_of


def labels_of_rows(model: Predictor, texts: Sequence[str]) -> Answers:
    """Return the label of every text, its probability, and that of every label."""
    found = model.predict(texts)
    columns: dict[str, list[Any]] = {"label": [one.label for one in found], "score": [one.score for one in found]}
    for name in model.labels:
        columns[f"score_{name}"] = [one.scores[name] for one in found]
    return Answers(columns, **read_of(found))


def labels_not_of(model: Predictor, labels: Sequence[str]) -> list[str]:
    """Return those of some labels that are none of the model's."""
    known = indices_of(model.labels)
    return [label for label in labels if as_known(label, known) not in known]


def true_and_said(model: Predictor, texts: Sequence[str], labels: Sequence[str | None]) -> Measured:
    """Return the index of the label of every row, and of the one that is said, (N, 2)."""
    index_of, place_of = indices_of(model.labels), {name: place for place, name in enumerate(model.labels)}
    found = model.predict(texts)
    true = [index_of[str(as_known(label, index_of))] for label in labels]
    values = np.array([true, [place_of[one.label] for one in found]], np.float64).T
    return Measured(values, **read_of(found))


def counts_of(model: Predictor, values: FloatArray) -> IntArray:
    """Count rows by true label and the one that is said, (C, C)."""
    true, said = values.astype(np.int64).T
    return confusion(true, said, num_labels=len(model.labels))


def intervals_of(counts: IntArray, *, samples: int, level: float, seed: int) -> dict[str, Interval]:
    """Return accuracy, and macro-F1 over the labels that the rows have: somebody's file need not hold all of them."""
    return bootstrap(counts, samples=samples, level=level, seed=seed, among=counts.sum(axis=1) > 0)
