"""A fixed sample of rows: evenly spaced, so that equal tables have equal samples."""

import numpy as np
import numpy.typing as npt


def evenly(count: int, at_most: int) -> npt.NDArray[np.int64]:
    """Return the places of ``count`` rows, or of ``at_most`` of them, in order."""
    taken = min(count, at_most)
    return np.arange(taken) * count // max(taken, 1)
