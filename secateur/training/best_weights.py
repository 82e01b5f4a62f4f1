"""Which weights training ends with: those of the best validation pass; and when no better one is to be expected."""

import math
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from secateur.training.validation import Scores

_NO_HOPE = 5
"""Passes without a better loss or score. Of 119 rows the loss fell for 8 and 13 epochs, and 62 to 67 came after."""

BestBy = Literal["quality", "loss", "last"]
"""The score that decides, the loss, or the last pass whatever its score."""


@dataclass
class Best:
    """The best scores so far, and a copy of their weights.

    Attributes:
        by: what better means: a better score of those that decide, a lower loss, or later.
        floor: worst score that was promised; a pass that holds it is better than one that does not. None = no promise.
        scores: of the best pass.
        weights: its whole state dict.
        step: its step.
        passes_since: passes without a better score since.
    """

    by: BestBy
    floor: float | None = None
    scores: Scores | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    passes_since: int = 0

    def update(self, scores: Scores, model: nn.Module, *, step: int, last: bool = False) -> None:
        """Keep the weights when the score is better; the earlier of two equal ones stays.

        Nothing is copied of the ``last`` pass: its weights are those that the model has.
        """
        if self.scores is not None and not self._better(scores, self.scores):
            self.passes_since += 1
            return
        self.scores, self.step, self.passes_since = scores, step, 0
        self.weights = {}
        if not last:
            self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def _better(self, scores: Scores, than: Scores) -> bool:
        if self.floor is not None:
            now, before = (entry.measure.holds(entry.judged, floor=self.floor) for entry in (scores, than))
            if now != before:
                return now
        if self.by == "last":
            return True
        if self.by == "loss":
            return scores.loss < than.loss
        return scores.measure.is_better(scores.quality, than.quality)


@dataclass
class Hope:
    """Whether more of the same steps may still bring something: whether the loss or the score was better than ever.

    Attributes:
        loss: lowest so far.
        scores: those of the best score so far.
        passes: since either of them.
    """

    loss: float = math.inf
    scores: Scores | None = None
    passes: int = 0

    @property
    def is_lost(self) -> bool:
        """Tell whether neither was better for a while."""
        return self.passes >= _NO_HOPE

    def update(self, scores: Scores) -> None:
        """Take a validation pass."""
        better = self.scores is None or scores.measure.is_better(scores.quality, self.scores.quality)
        self.passes = 0 if better or scores.loss < self.loss else self.passes + 1
        self.loss = min(self.loss, scores.loss)
        self.scores = scores if better else self.scores
