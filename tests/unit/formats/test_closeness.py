"""What is rounding and what is another model: relative to the logits."""

import numpy as np
import pytest

from secateur.errors import ModelError
from secateur.formats.closeness import require_close


@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0, 100.0])
def test_what_is_tolerated_grows_with_the_logits(scale: float) -> None:
    expected = scale * np.array([[-1.0, 0.25, 0.5]], np.float32)
    require_close(expected + 0.9e-4 * scale, expected, what="the graph")
    with pytest.raises(
        ModelError, match=r"^the graph differs from the checkpoint by .* tolerated\); nothing was written$"
    ):
        require_close(expected + 3e-4 * scale, expected, what="the graph")


def test_logits_that_vanish_may_differ_by_the_rounding_of_what_they_are_made_of() -> None:
    zeros = np.zeros((2, 3), np.float32)
    require_close(zeros + 5e-7, zeros, what="the graph")
    with pytest.raises(ModelError):
        require_close(zeros + 1e-5, zeros, what="the graph")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_refused(bad: float) -> None:
    expected = np.ones((1, 2), np.float32)
    with pytest.raises(ModelError):
        require_close(np.array([[1.0, bad]], np.float32), expected, what="the graph")
