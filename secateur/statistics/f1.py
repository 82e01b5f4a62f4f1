"""F1, once: 2 TP / (2 TP + FP + FN), and 0 where there is nothing to divide by."""

from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def f1_of(hits: npt.NDArray[Any], support: npt.NDArray[Any], said: npt.NDArray[Any]) -> FloatArray:
    """Return the F1 of every label, (..., C), as scikit-learn does with ``zero_division=0``.

    Args:
        hits: rows of the label that are found to be of it, (..., C).
        support: rows of the label.
        said: rows that are found to be of it.
    """
    return ratio(2 * hits, support + said)


def right_rows(labels: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which rows have the label that is predicted, or all of those and no other, (rows,).

    Args:
        labels: index of the true label of every row, (rows,); or 0 and 1 for every label, (rows, C).
        predicted: the same.
    """
    same = labels == predicted
    return np.asarray(same.all(axis=1) if labels.ndim == 2 else same, np.bool_)


def of_each(labels: npt.NDArray[Any], *, num_labels: int) -> npt.NDArray[np.bool_]:
    """Return which rows have which labels, (rows, C), from their indices or from 0 and 1 for every label."""
    return np.asarray(labels if labels.ndim == 2 else labels[:, None] == np.arange(num_labels), np.bool_)


def f1_by_label(labels: IntArray, predicted: IntArray, *, num_labels: int) -> tuple[FloatArray, FloatArray]:
    """Return recall and F1 of every label, (C,) each; labels as in ``right_rows``.

    A prediction of -1 is a label that the rows do not know.
    """
    true, said = (of_each(found, num_labels=num_labels) for found in (labels, predicted))
    hits, support = (true & said).sum(axis=0), true.sum(axis=0)
    return ratio(hits, support), f1_of(hits, support, said.sum(axis=0))


def micro_f1_of_rows(labels: npt.NDArray[Any], predicted: npt.NDArray[Any], *, num_labels: int) -> float:
    """Return the F1 of all pairs of row and label together."""
    true, said = (of_each(found, num_labels=num_labels) for found in (labels, predicted))
    return float(f1_of((true & said).sum(), true.sum(), said.sum()))


def macro_f1_of_rows(labels: IntArray, predicted: IntArray, *, num_labels: int) -> float:
    """Return the mean F1 over the labels, see ``f1_by_label``."""
    return float(f1_by_label(labels, predicted, num_labels=num_labels)[1].mean())


def ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> FloatArray:
    """Divide, with 0 where there is nothing to divide by."""
    whole = np.asarray(whole, dtype=np.float64)
    result: FloatArray = np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
    return result
