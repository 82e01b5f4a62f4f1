"""What predicted numbers are worth: R², rank correlation, and errors in the units of the rows. Numbers in, numbers out.

All of them come from sums over the rows, so that resampled rows are scored without being touched one by one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from secateur.statistics.bootstrap import resampled_sums

FloatArray = npt.NDArray[np.float64]

_SQUARE, _ABSOLUTE, _TRUE, _TRUE_SQUARE = range(4)
_RANKS = slice(4, 9)


@dataclass(frozen=True)
class Scoring:
    """How numbers are scored.

    Attributes:
        deciding: name of the score that decides.
        summands: true numbers and those that were said, (rows,) each -> what the scores are sums of, (rows, K).
        scores: sums of so many rows, (..., K) -> name -> score, (...).
    """

    deciding: str
    summands: Callable[[FloatArray, FloatArray], FloatArray]
    scores: Callable[[FloatArray, int], Mapping[str, FloatArray]]

    def of(self, truth: npt.NDArray[Any], said: npt.NDArray[Any]) -> dict[str, float]:
        """Return the scores of at least one row."""
        found = self.scores(self.summands(_floats(truth), _floats(said)).sum(axis=0), len(truth))
        return {name: float(value) for name, value in found.items()}

    def resampled(
        self, truth: npt.NDArray[Any], said: npt.NDArray[Any], *, samples: int, seed: int
    ) -> dict[str, FloatArray]:
        """Return the scores of rows that are drawn with replacement, (samples,) each."""
        columns = self.summands(_floats(truth), _floats(said))
        return dict(self.scores(resampled_sums(columns, samples=samples, seed=seed), len(columns)))

    def change(
        self,
        truth: npt.NDArray[Any],
        *,
        before: npt.NDArray[Any],
        after: npt.NDArray[Any],
        samples: int,
        seed: int,
    ) -> FloatArray:
        """Return the deciding score of one model less that of another on resampled rows, (samples,).

        Rows are drawn in pairs: one brings its true number and what both models say.
        """
        both = [self.summands(_floats(truth), _floats(said)) for said in (before, after)]
        sums = resampled_sums(np.concatenate(both, axis=1), samples=samples, seed=seed)
        was, is_ = (self.scores(part, len(truth))[self.deciding] for part in np.split(sums, 2, axis=1))
        difference: FloatArray = is_ - was
        return difference


def explained(squares: npt.ArrayLike, *, about_mean: npt.ArrayLike) -> FloatArray:
    """Return R² from the sum of squared errors; where all true numbers are equal 1 without an error, else 0."""
    left, whole = np.broadcast_arrays(np.asarray(squares, np.float64), np.asarray(about_mean, np.float64))
    share = np.divide(left, whole, out=np.where(left > 0.0, 1.0, 0.0), where=whole > 0.0)
    return np.asarray(1.0 - share)


def _summands(truth: FloatArray, said: FloatArray) -> FloatArray:
    """Return errors, true numbers around their mean, and ranks, (rows, 9).

    Ranks are those among all rows, equal numbers sharing theirs; resampled rows keep them.
    """
    error, centred = said - truth, truth - truth.mean()
    a, b = (rankdata(values) - (len(truth) + 1) / 2 for values in (truth, said))
    return np.stack([error**2, np.abs(error), centred, centred**2, a, b, a * a, b * b, a * b], axis=1)


def _scores(sums: FloatArray, rows: int) -> dict[str, FloatArray]:
    a, b, aa, bb, ab = np.moveaxis(sums[..., _RANKS], -1, 0)
    spread = np.sqrt(np.maximum(aa - a * a / rows, 0.0) * np.maximum(bb - b * b / rows, 0.0))
    about_mean = np.maximum(sums[..., _TRUE_SQUARE] - sums[..., _TRUE] ** 2 / rows, 0.0)
    return {
        "r2": explained(sums[..., _SQUARE], about_mean=about_mean),
        "spearman": np.divide(ab - a * b / rows, spread, out=np.zeros_like(spread), where=spread > 0.0),
        "rmse": np.sqrt(sums[..., _SQUARE] / rows),
        "mae": sums[..., _ABSOLUTE] / rows,
    }


def _floats(values: npt.NDArray[Any]) -> FloatArray:
    return np.asarray(values, np.float64)


NUMBERS = Scoring("r2", _summands, _scores)
"""``r2``, ``spearman`` (Spearman 1904), ``rmse`` and ``mae``.

R² is 1 less the squared errors by those of the rows' own mean: 0 tells no more than that mean, and below 0 is less.
"""
