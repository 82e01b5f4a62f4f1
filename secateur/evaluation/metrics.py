"""Scores of a classifier, all derived from one confusion matrix, with confidence intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix

from secateur.statistics.bootstrap import resampled_counts
from secateur.statistics.f1 import f1_of, ratio

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A score and its confidence interval."""

    value: float
    low: float
    high: float


def confusion(labels: Sequence[int] | IntArray, predicted: Sequence[int] | IntArray, *, num_labels: int) -> IntArray:
    """Count rows by true label (first axis) and predicted label (second axis), (C, C)."""
    counts: IntArray = confusion_matrix(labels, predicted, labels=np.arange(num_labels)).astype(np.int64)
    return counts


def accuracy(counts: npt.NDArray[Any]) -> FloatArray:
    """Return the share of rows on the diagonal of (..., C, C) counts."""
    return ratio(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))


def f1_per_label(counts: npt.NDArray[Any]) -> FloatArray:
    """Return 2 TP / (2 TP + FP + FN) of every label of (..., C, C) counts, (..., C).

    A label that neither occurs nor is predicted scores 0, as in scikit-learn with ``zero_division=0``.
    """
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return f1_of(hits, counts.sum(axis=-1), counts.sum(axis=-2))


def macro_f1(counts: npt.NDArray[Any], *, among: npt.NDArray[np.bool_] | None = None) -> FloatArray:
    """Return the unweighted mean of ``f1_per_label`` over the labels, or over some of them, (C,) booleans."""
    f1 = f1_per_label(counts)
    return np.asarray((f1 if among is None else f1[..., among]).mean(axis=-1))


def per_label(counts: IntArray) -> list[dict[str, float | int]]:
    """Return precision, recall, f1 and support of every label, in label order."""
    hits = np.diagonal(counts)
    precision = ratio(hits, counts.sum(axis=0))
    recall = ratio(hits, counts.sum(axis=1))
    f1 = f1_per_label(counts)
    support = counts.sum(axis=1)
    return [
        {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
        for p, r, f, s in zip(precision, recall, f1, support, strict=True)
    ]


def bootstrap(
    counts: IntArray, *, samples: int, level: float, seed: int, among: npt.NDArray[np.bool_] | None = None
) -> dict[str, Interval]:
    """Return ``accuracy`` and ``macro_f1`` with percentile intervals.

    Drawing N rows with replacement is drawing the cells of the confusion matrix from a multinomial, so no
    row is touched: the cost does not depend on the number of rows (Efron and Tibshirani 1993, chapter 13).

    Args:
        counts: (C, C), with at least one row.
        samples: resamples.
        level: probability that the interval covers, such as 0.95.
        seed: of the resampling.
        among: labels whose F1 is averaged, (C,); all unless given.
    """
    drawn = resampled_counts(counts.ravel(), samples=samples, seed=seed).reshape(samples, *counts.shape)
    tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
    result = {}
    for name, score in (("accuracy", accuracy), ("macro_f1", partial(macro_f1, among=among))):
        low, high = np.quantile(score(drawn), tails)
        result[name] = Interval(value=float(score(counts)), low=float(low), high=float(high))
    return result
