"""What predicted grades are worth: agreement that counts by how far off a grade is. Numbers in, numbers out."""

import numpy as np

from secateur.statistics.numbers import FloatArray, Scoring

_RIGHT, _SQUARE, _TRUE, _SAID, _TRUE_SQUARE, _SAID_SQUARE = range(6)


def _summands(truth: FloatArray, said: FloatArray) -> FloatArray:
    """Return of places in the order of the grades, (rows,) each, what the scores are sums of, (rows, 6 + 2 G).

    The last columns hold 1, and how many grades an answer is off, under the grade of the row.
    """
    off = np.abs(said - truth)
    of_grade = truth[:, None] == np.arange(int(truth.max()) + 1)
    columns = np.stack([off == 0.0, off**2, truth, said, truth**2, said**2], axis=1)
    return np.concatenate([columns, of_grade, of_grade * off[:, None]], axis=1).astype(np.float64)


def _scores(sums: FloatArray, rows: int) -> dict[str, FloatArray]:
    by_chance = rows * (sums[..., _TRUE_SQUARE] + sums[..., _SAID_SQUARE]) - 2.0 * sums[..., _TRUE] * sums[..., _SAID]
    square = rows * sums[..., _SQUARE]
    left = np.divide(square, by_chance, out=np.zeros_like(square), where=by_chance > 0.0)
    counts, off = np.split(sums[..., _SAID_SQUARE + 1 :], 2, axis=-1)
    occurs = counts > 0.0
    of_each = np.divide(off, counts, out=np.zeros_like(off), where=occurs)
    return {
        "qwk": 1.0 - left,
        "accuracy": sums[..., _RIGHT] / rows,
        "macro_mae": of_each.sum(axis=-1) / occurs.sum(axis=-1),
        "mae": off.sum(axis=-1) / rows,
    }


GRADES = Scoring("qwk", _summands, _scores)
"""``qwk``, ``accuracy``, ``macro_mae`` and ``mae``, the two in grades.

Quadratic weighted kappa (Cohen 1968) is 1 less the squared distances of grades by those of answers that are drawn from
the same shares of grades: 0 is chance. The macro mean absolute error (Baccianella et al. 2009) is the mean over the
grades of how far off their rows are, so that a rare grade counts as much as a frequent one.
"""
