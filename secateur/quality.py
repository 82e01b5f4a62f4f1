"""What a model is judged by: one score, and which way is better."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """The score that decides.

    Attributes:
        name: in cards, metrics and params.yaml.
        title: in sentences.
        higher_is_better: a perplexity is better when it is lower.
    """

    name: str
    title: str
    higher_is_better: bool

    def is_better(self, value: float, than: float) -> bool:
        """Compare two values; equal ones are not better."""
        return value > than if self.higher_is_better else value < than

    def floor(self, dense: float, *, max_drop: float) -> float:
        """Return the worst value that is allowed.

        ``max_drop`` is subtracted from a score of a classifier; of a perplexity it is the relative growth.
        """
        return dense - max_drop if self.higher_is_better else dense * (1.0 + max_drop)

    def drop(self, value: float, *, dense: float) -> float:
        """Return what is lost against dense, in the unit of ``max_drop``; negative when the value is better."""
        return dense - value if self.higher_is_better else value / dense - 1.0

    def holds(self, value: float, *, floor: float) -> bool:
        """Tell whether a value is allowed; NaN never is."""
        return value >= floor if self.higher_is_better else value <= floor


MACRO_F1 = Measure("macro_f1", "macro-F1", higher_is_better=True)
R2 = Measure("r2", "R²", higher_is_better=True)
KAPPA = Measure("qwk", "weighted kappa", higher_is_better=True)
PERPLEXITY = Measure("perplexity", "perplexity", higher_is_better=False)

MOST_GROWTH = 1e6
"""What ``max_drop`` may allow a perplexity to grow by, as a share; the loss of a point is below 1."""

LOSS = Measure("loss", "loss", higher_is_better=False)
"""Of somebody's own batches, by their own loss."""
