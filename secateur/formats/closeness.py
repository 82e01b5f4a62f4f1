"""Whether an export says what its checkpoint says."""

import numpy as np
import numpy.typing as npt

from secateur.errors import ModelError

# Sums of fp32 products in another order differ by 1e-7 to 1e-5 of the largest logit, which is 1 to 10 for a classifier
# and 30 to 100 for a language model.
_OF_THE_LARGEST = 1e-4
# Logits that nearly vanish are differences of activations of order 1.
_AT_LEAST = 1e-6


def require_close(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32], *, what: str) -> None:
    """Refuse an export whose logits differ by more than rounding does.

    Args:
        found: logits of the export, of any shape, at least one.
        expected: those of the checkpoint, of the same shape.
        what: the export, for people.

    Raises:
        ModelError: they differ, or are no numbers.
    """
    difference = float(np.abs(found - expected).max())
    largest = float(np.abs(expected).max())
    tolerated = _OF_THE_LARGEST * largest + _AT_LEAST
    if not difference <= tolerated:
        raise ModelError(
            f"{what} differs from the checkpoint by {difference:.2g} in the logits, of which the largest is "
            f"{largest:.2g} ({tolerated:.2g} is tolerated); nothing was written"
        )
