"""What ``secateur.prune`` returns: the model that is left, and what went."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel

from secateur.pruning.state import State


@dataclass(frozen=True)
class Figures:
    """A model in figures.

    Attributes:
        heads: attention heads (key-value groups) of every layer.
        neurons: feed-forward neurons of every layer.
        macs: multiply-accumulates of the layers for a row of 32 tokens: what a budget counts.
        params: all parameters.
        loss: mean over the rows that judge.
    """

    heads: tuple[int, ...]
    neurons: tuple[int, ...]
    macs: int
    params: int
    loss: float


@dataclass(frozen=True)
class Pruned:
    """What ``secateur.prune`` returns.

    Attributes:
        model: what is left: an ordinary model of transformers, in evaluation mode and in the type that came in.
        before: the given model.
        after: the model that is left.
        achieved: fractions of the given model that are left, by kind of budget (``sparsity``: what is gone).
        removed_heads: numbers of the heads that went, for every layer of the given model.
        removed_neurons: numbers of the neurons that went.
        criterion: how they were scored.
        seed: of every random draw.
    """

    model: PreTrainedModel
    before: Figures
    after: Figures
    achieved: Mapping[str, float]
    removed_heads: tuple[tuple[int, ...], ...]
    removed_neurons: tuple[tuple[int, ...], ...]
    criterion: str
    seed: int
    _card: Mapping[str, Any] = field(repr=False)
    _state: State = field(repr=False)

    def summary(self) -> str:
        """Say in a line what went, and what it cost."""
        before, after = self.before, self.after
        return (
            f"{self.criterion}: {sum(map(len, self.removed_heads))} of {sum(before.heads)} heads and "
            f"{sum(map(len, self.removed_neurons))} of {sum(before.neurons)} neurons went, "
            f"{after.macs / before.macs:.3f} of the MACs and {after.params / before.params:.3f} of the parameters are "
            f"left; loss {before.loss:.4f} -> {after.loss:.4f}"
        )
