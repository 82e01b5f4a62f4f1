"""Which loss so many rows can rule out, and how many rows that takes; known before anything is trained. Pure."""

from collections.abc import Iterable
from math import ceil, sqrt
from statistics import NormalDist
from typing import Literal

CHANGED_SHARE = 0.1
"""Share of the rows on which a pruned model and dense usually differ: 6 to 13 % in the demo's rounds. A difference of
accuracy on n rows then has a standard error of ``sqrt(0.1 / n)``."""

POWER = 0.8
"""How often an equally good model should be found harmless; customary in the planning of trials."""

USUAL = 0.02
"""The loss that ``auto`` allows where there are rows enough to rule it out."""


def margin_of(asked: float | Literal["auto"], counts: Iterable[int], *, level: float, rows: int | None = None) -> float:
    """Return the loss that is allowed: the number that was asked for, or for ``auto`` what the rows can rule out.

    The rows and their labels alone decide: a margin that looked at the answers would follow the difference it judges.

    Args:
        asked: ``promote.max_drop``.
        counts: rows of every label.
        level: chance of passing a model that is worse by just the margin.
        rows: of all labels, where some have several; None is their sum.
    """
    return asked if asked != "auto" else max(USUAL, provable(effective_rows(counts, rows=rows), level=level))


def effective_rows(counts: Iterable[int], *, rows: int | None = None) -> float:
    """Return how many balanced rows would tell as much of macro-F1 as these.

    Macro-F1 is a mean over K labels, and what happens to one of n_k rows weighs 1 / (K n_k): its variance is that of
    ``K**2 / sum(1 / n_k)`` rows that are shared out evenly. Labels without rows are left out. Where a row has several
    labels, what is told of them hangs together, and they count for no more than ``rows`` of one each.
    """
    found = [count for count in counts if count]
    telling = len(found) ** 2 / sum(1.0 / count for count in found) if found else 0.0
    return telling if rows is None or sum(found) <= rows else telling * rows / sum(found)


def provable(rows: float, *, level: float) -> float:
    """Return the smallest loss, in thousandths, that is ruled out of an equal model in ``POWER`` of the cases.

    ``(z(1 - level) + z(POWER)) * sqrt(CHANGED_SHARE / rows)`` (Liu et al. 2002, Stat. Med. 21, 231, for paired
    proportions), and no less than what the rows rule out when no answer at all has changed.
    """
    if rows <= 0:
        return 1.0
    z = _z(1.0 - level)
    unchanged = z**2 / (rows + z**2)
    usual = (z + _z(POWER)) * sqrt(CHANGED_SHARE / rows)
    return min(1.0, ceil(1000 * max(unchanged, usual) - 1e-9) / 1000)


def rows_for(margin: float, *, level: float, changed: float = CHANGED_SHARE) -> int:
    """Return how many rows rule out a loss of ``margin`` of an equal model in ``POWER`` of the cases.

    Args:
        margin: above 0.
        level: chance of passing a model that is worse by just the margin.
        changed: share of the rows that one model alone gets right.
    """
    z = _z(1.0 - level)
    return ceil(max((z + _z(POWER)) ** 2 * changed / margin**2, z**2 * (1.0 - margin) / margin) - 1e-9)


def passes(rows: float, margin: float, *, level: float) -> float:
    """Return how often an equal model is found harmless; 0 where the rows cannot rule out such a loss at all."""
    z = _z(1.0 - level)
    if margin <= 0.0 or rows < z**2 * (1.0 - margin) / margin:
        return 0.0
    return NormalDist().cdf(margin * sqrt(rows / CHANGED_SHARE) - z)


def _z(probability: float) -> float:
    return NormalDist().inv_cdf(probability)
