"""Rows drawn with replacement, as many as there are (Efron and Tibshirani 1993, chapter 13)."""

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_WEIGHTS_PER_DRAW = 2**22


def resampled_counts(counts: npt.NDArray[np.int64], *, samples: int, seed: int) -> npt.NDArray[np.int64]:
    """Return how many rows of every group are drawn, (samples, groups).

    Drawing rows is drawing their groups from a multinomial, so the cost does not depend on the number of rows.

    Args:
        counts: rows of every group, (groups,), at least one row.
        samples: resamples.
        seed: of the resampling.
    """
    total = int(counts.sum())
    drawn: npt.NDArray[np.int64] = np.random.default_rng(seed).multinomial(total, counts / total, size=samples)
    return drawn


def resampled_sums(
    columns: npt.NDArray[Any], *, samples: int, seed: int, counts: npt.NDArray[np.int64] | None = None
) -> FloatArray:
    """Return the column sums of the drawn rows, (samples, C); memory does not grow with the number of samples.

    Args:
        columns: (rows, C), at least one row; or of groups of equal rows, (groups, C).
        samples: resamples.
        seed: of the resampling.
        counts: rows of every group, (groups,); one each unless given.
    """
    weights = np.ones(len(columns), np.int64) if counts is None else counts
    total = int(weights.sum())
    generator = np.random.default_rng(seed)
    step = max(1, _WEIGHTS_PER_DRAW // len(columns))
    return np.concatenate(
        [
            generator.multinomial(total, weights / total, size=size) @ columns
            for size in (min(step, samples - start) for start in range(0, samples, step))
        ]
    )
