"""Two models on the same rows: is the difference more than chance?"""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import binomtest

from secateur.statistics.bootstrap import resampled_sums
from secateur.statistics.f1 import f1_of, of_each, right_rows

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


def bootstrap_macro_f1(
    labels: IntArray, before: IntArray, after: IntArray, *, num_labels: int, samples: int, seed: int
) -> FloatArray:
    """Return macro-F1 after less macro-F1 before on resampled rows, (samples,).

    Rows are drawn in pairs: a row brings its label and both predictions. Drawing rows with replacement is drawing the
    combinations of the three from a multinomial, so the cost does not depend on the number of rows (Efron and
    Tibshirani 1993, chapter 13).

    Args:
        labels: index of the true label of every row, (rows,), at least one; or 0 and 1 for every label, (rows, C).
        before: predicted by one model, as ``labels``; -1 = a label that the rows do not know.
        after: predicted by the other one.
        num_labels: C.
        samples: resamples.
        seed: of the resampling.
    """
    triples, counts = _distinct(labels, before, after)
    true, *said = (of_each(column, num_labels=num_labels).astype(np.float64) for column in triples)
    columns = np.concatenate([true, *(part for one in said for part in (true * one, one))], axis=1)
    sums = resampled_sums(columns, counts=counts, samples=samples, seed=seed)
    support, *of_both = np.split(sums, 5, axis=1)
    was, is_ = (f1_of(hits, support, said).mean(axis=-1) for hits, said in (of_both[:2], of_both[2:]))
    difference: FloatArray = is_ - was
    return difference


def _distinct(*columns: IntArray) -> tuple[tuple[IntArray, ...], IntArray]:
    """Return the combinations that rows have, column by column, and the rows that have each."""
    if columns[0].ndim == 1:
        found, counts = np.unique(np.stack(columns), axis=1, return_counts=True)
        return tuple(found), counts
    wide, counts = np.unique(np.concatenate(columns, axis=1), axis=0, return_counts=True)
    return tuple(np.split(wide, len(columns), axis=1)), counts


def bootstrap_growth(
    before: FloatArray, after: FloatArray, *, characters: IntArray, samples: int, seed: int
) -> FloatArray:
    """Return perplexity per character after, divided by before, less 1, on resampled texts, (samples,).

    Texts are drawn in pairs, as tokens of one text depend on each other (Efron and Tibshirani 1993, chapter 13).

    Args:
        before: loss of every text by one model, in nats, (texts,), at least one.
        after: by the other one.
        characters: of every text, (texts,).
        samples: resamples.
        seed: of the resampling.
    """
    columns = np.stack([after - before, characters], axis=1)
    sums = resampled_sums(columns, samples=samples, seed=seed)
    growth: FloatArray = np.expm1(sums[:, 0] / sums[:, 1])
    return growth
