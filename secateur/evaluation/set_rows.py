"""What a model that gives several labels says of somebody's rows, and what it is worth on them."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from secateur.data.labelled import as_known, indices_of
from secateur.evaluation.metrics import FloatArray, IntArray, Interval
from secateur.evaluation.row_scores import Measured
from secateur.evaluation.said import counted_rows, intervals_of_sets
from secateur.inference.answers import Answers
from secateur.inference.prediction import Predictor, read_of
from secateur.readers.label_sets import labels_in

_SEPARATORS = ("|", ";", ",", "/", "~", "¦")
_OTHERS = range(0x2500, 0xD800)
"""More characters than labels hold, the box drawings first."""


def sets_of_rows(model: Predictor, texts: Sequence[str]) -> Answers:
    """Return the labels of every text in one cell, and the probability of every label."""
    found = model.predict(texts)
    between = separator_of(model.labels)
    columns: dict[str, list[Any]] = {"labels": [between.join(one.labels) for one in found]}
    for name in model.labels:
        columns[f"score_{name}"] = [one.scores[name] for one in found]
    return Answers(columns, **read_of(found))


def separator_of(labels: Sequence[str]) -> str:
    """Return what stands between labels in a cell: the first sign that none of them holds."""
    return next(sign for sign in chain(_SEPARATORS, map(chr, _OTHERS)) if not any(sign in label for label in labels))


def true_and_said(model: Predictor, texts: Sequence[str], labels: Sequence[str | None]) -> Measured:
    """Return for every row which labels it has, and which are said, (N, 2 C) of 0 and 1."""
    index_of, width = indices_of(model.labels), len(model.labels)
    found = model.predict(texts)
    values = np.zeros((len(texts), 2 * width))
    for row, (label, one) in enumerate(zip(labels, found, strict=True)):
        values[row, [index_of[str(as_known(name, index_of))] for name in labels_in(str(label))]] = 1.0
        values[row, width:] = [name in one.labels for name in model.labels]
    return Measured(values, **read_of(found))


def halves(values: FloatArray) -> tuple[IntArray, IntArray]:
    """Take apart what ``true_and_said`` has put together."""
    true, said = np.split(values.astype(np.int64), 2, axis=1)
    return true, said


def intervals_of(values: FloatArray, *, samples: int, level: float, seed: int) -> dict[str, Interval]:
    """Return the scores, macro-F1 over the labels that the rows have: somebody's file need not hold all of them."""
    true, said = halves(values)
    occurs = true.sum(axis=0) > 0
    if not occurs.any():
        occurs[:] = True
    return intervals_of_sets(counted_rows(true, said), samples=samples, level=level, seed=seed, among=occurs)
