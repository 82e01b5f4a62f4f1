"""Intervals of shares."""

from scipy.stats import binomtest


def wilson(hits: int, count: int, *, level: float) -> tuple[float, float]:
    """Return the ends of the score interval of a share (Wilson 1927), which holds for shares near 0 and 1 too.

    Args:
        hits: of the rows.
        count: rows, at least one.
        level: probability that it covers.
    """
    found = binomtest(hits, count).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)
