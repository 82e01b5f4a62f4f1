"""When the rate rises and falls, and when the model is scored."""

import math
from typing import Literal


def warm_up_and_decay(
    step: int, *, num_steps: int, warmup_fraction: float, decay: Literal["linear", "cosine"] = "linear"
) -> float:
    """Return the factor on the peak rate at step 1..num_steps: linear to 1, then as asked towards 0, never 0.

    The cosine is that of Loshchilov and Hutter 2017, equation 5, without restarts.
    """
    warmup = warmup_fraction * num_steps
    if step <= warmup:
        return step / warmup
    left = min(1.0, (num_steps - step + 1) / (num_steps - warmup))
    return left if decay == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)


def evaluation_steps(num_steps: int, steps_per_epoch: int, evaluations_per_epoch: int) -> frozenset[int]:
    """Return the steps after which the model is scored; the last step is always one of them."""
    if num_steps == 0:
        return frozenset()
    interval = steps_per_epoch / evaluations_per_epoch
    count = int(num_steps / interval)
    steps = {max(1, round(number * interval)) for number in range(1, count + 1)}
    return frozenset({step for step in steps if step <= num_steps} | {num_steps})
