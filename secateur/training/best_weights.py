"""Which weights training ends with: those of the best validation pass."""

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from secateur.training.validation import Scores

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

    def update(self, scores: Scores, model: nn.Module, *, step: int) -> None:
        """Keep the weights when the score is better; the earlier of two equal ones stays."""
        if self.scores is not None and not self._better(scores, self.scores):
            self.passes_since += 1
            return
        self.scores, self.step, self.passes_since = scores, step, 0
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
