"""Which weights training ends with: those of the best validation pass, or a mean over the last steps."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from secateur.training.validation import AnyScores

BestBy = Literal["macro_f1", "perplexity", "loss", "last"]
"""The score that decides (what the task is judged by, under its name), or the last pass whatever its score."""


@dataclass
class Best:
    """The best scores so far, and a copy of their weights.

    Attributes:
        by: what better means: a higher macro-F1, a lower perplexity, a lower loss, or later.
        scores: of the best pass.
        weights: its whole state dict.
        step: its step.
        passes_since: passes without a better score since.
    """

    by: BestBy
    scores: AnyScores | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    passes_since: int = 0

    def update(self, scores: AnyScores, model: nn.Module, *, step: int) -> None:
        """Keep the weights when the score is better; the earlier of two equal ones stays."""
        if self.scores is not None and not self._better(scores, self.scores):
            self.passes_since += 1
            return
        self.scores, self.step, self.passes_since = scores, step, 0
        self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def _better(self, scores: AnyScores, than: AnyScores) -> bool:
        if self.by == "last":
            return True
        if self.by == "loss":
            return scores.loss < than.loss
        return scores.measure.is_better(scores.quality, than.quality)


class Average:
    """The mean of the trained parameters over the steps that were added (Izmailov et al. 2018, algorithm 1).

    Differs from the paper in: every step counts instead of one per cycle, and the rate goes on falling.
    ``count`` is the number of steps added. Models with batch norm would need its statistics again; encoders have none.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._mean: list[Tensor] = []
        self.count = 0

    @torch.no_grad()
    def add(self) -> None:
        """Count the parameters as they are now."""
        self.count += 1
        if self.count == 1:
            self._mean = [parameter.detach().clone() for parameter in self._parameters]
            return
        torch._foreach_lerp_(self._mean, list(self._parameters), 1.0 / self.count)

    @torch.no_grad()
    def swap_(self) -> None:
        """Exchange mean and parameters; twice is as before. Without anything added, nothing happens."""
        for mean, parameter in zip(self._mean, self._parameters, strict=False):
            current = parameter.detach().clone()
            parameter.copy_(mean)
            mean.copy_(current)
