"""Two models on the same rows, counted by who was right: exact test and lowest change."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import binomtest

from secateur.statistics.f1 import right_rows

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Discordant:
    """Rows on which exactly one of two models is right.

    Attributes:
        rows: all rows.
        lost: right before, wrong after.
        won: wrong before, right after.
    """

    rows: int
    lost: int
    won: int

    @classmethod
    def of(cls, labels: IntArray, before: IntArray, after: IntArray) -> "Discordant":
        """Count them; all three arrays are (rows,), or (rows, C) with 0 and 1 for every label, all of which count."""
        was, is_ = right_rows(labels, before), right_rows(labels, after)
        return cls(rows=len(labels), lost=int((was & ~is_).sum()), won=int((~was & is_).sum()))

    @property
    def drop(self) -> float:
        """Accuracy before less accuracy after."""
        return (self.lost - self.won) / self.rows


def mcnemar(counts: Discordant) -> float:
    """Return the two-sided exact p-value of "both models are equally accurate" (McNemar 1947).

    Given the number of discordant rows, those lost are Binomial(lost + won, 1/2). 1 when no row is discordant.
    """
    total = counts.lost + counts.won
    return float(binomtest(counts.lost, total).pvalue) if total else 1.0


def lowest_change(counts: Discordant, *, level: float) -> float:
    """Return the one-sided lower bound of accuracy after less accuracy before.

    The smallest change that a score test does not reject at ``level`` (Tango 1998, Stat. Med. 17, 891): the variance
    is the one that this change would have, so that rows without any discordant one still say how little they are.

    Args:
        counts: at least one row.
        level: of the test; a bound at 0.05 is the lower end of a two-sided interval of 90 %.
    """
    wanted = NormalDist().inv_cdf(1.0 - level)
    found = (counts.won - counts.lost) / counts.rows
    if found <= -1.0:
        return -1.0
    return float(brentq(lambda change: _score(counts, change) - wanted, -1.0 + 1e-12, found, xtol=1e-9))


def _score(counts: Discordant, change: float) -> float:
    """Return how many standard errors the difference lies above ``change``, -1 < change <= the difference found.

    With ``change`` fixed, the most likely share of rows lost solves ``2 n q**2 + b q - c = 0``.
    """
    n, lost, won = counts.rows, counts.lost, counts.won
    b = (2 * n - won + lost) * change - won - lost
    c = lost * change * (1.0 - change)
    share = (sqrt(max(b * b + 8.0 * n * c, 0.0)) - b) / (4.0 * n)
    variance = n * (2.0 * share + change * (1.0 - change))
    return (won - lost - n * change) / sqrt(variance) if variance > 0.0 else 0.0
