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


def f1_by_label(labels: IntArray, predicted: IntArray, *, num_labels: int) -> tuple[FloatArray, FloatArray]:
    """Return recall and F1 of every label, (C,) each.

    A prediction of -1 is a label that the rows do not know.
    """
    known = np.arange(num_labels)
    true, said = labels[:, None] == known, predicted[:, None] == known
    hits, support = (true & said).sum(axis=0), true.sum(axis=0)
    return ratio(hits, support), f1_of(hits, support, said.sum(axis=0))


def macro_f1_of_rows(labels: IntArray, predicted: IntArray, *, num_labels: int) -> float:
    """Return the mean F1 over the labels, see ``f1_by_label``."""
    return float(f1_by_label(labels, predicted, num_labels=num_labels)[1].mean())


def ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> FloatArray:
    """Divide, with 0 where there is nothing to divide by."""
    whole = np.asarray(whole, dtype=np.float64)
    result: FloatArray = np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
    return result
