"""How long training takes, when the rate rises and falls, and when the model is scored."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from secateur.config.training import TrainingSection


@dataclass(frozen=True)
class Length:
    """How many steps are taken, and why so many.

    Attributes:
        asked_epochs: as in the parameters.
        min_steps: as in the parameters.
        epochs: passes over the training rows that the steps come to.
        steps: of the optimiser.
        ended: the step after which it ended before that; None where all were taken.
    """

    asked_epochs: float
    min_steps: int
    epochs: float
    steps: int
    ended: int | None = None

    @classmethod
    def of(cls, settings: TrainingSection, *, steps_per_epoch: int) -> Self:
        """Return the epochs asked for in steps, or the floor where they are fewer; without epochs there is no floor."""
        epochs, floor = settings.passes, settings.least_steps
        asked = round(epochs * steps_per_epoch)
        if epochs == 0 or asked >= floor:
            return cls(epochs, floor, epochs, asked)
        return cls(epochs, floor, floor / steps_per_epoch, floor)

    @property
    def is_extended(self) -> bool:
        """Tell whether the floor decided."""
        return self.epochs > self.asked_epochs

    def summary(self) -> str:
        """Say in a line what was asked, and what it came to."""
        if self.ended is not None:
            return f"ended after {self.ended} of {self.steps} steps: neither loss nor score got better any more"
        if not self.is_extended:
            return f"{self.epochs:g} epochs, {self.steps} steps"
        return (
            f"{self.steps} steps (min_steps), which are {self.epochs:.1f} epochs of so few rows; "
            f"epochs={self.asked_epochs:g} would be fewer"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a card."""
        return {name: value for name, value in asdict(self).items() if value is not None}


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
