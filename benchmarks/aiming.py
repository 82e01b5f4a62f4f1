"""Choosing how much to cut so that a model has the asked speed, whatever the method of cutting."""

from collections.abc import Callable
from dataclasses import dataclass

from transformers import PreTrainedModel

Cut = Callable[[float, float], PreTrainedModel]
"""Returns a cut copy for the share of heads and the share of FFN neurons to remove, each in [0, 1]."""

_STEPS = 9
_HIGHEST = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Where a bisection may start: some methods refuse to empty a layer and leave it whole, so that more is slower."""

_CLOSE = 0.01
"""Relative error at which the search stops; 16 neurons in every layer are 1 % of the time at 2x and 6 % at 8x."""


@dataclass(frozen=True)
class Aimed:
    """A cut model, its expected speed, and the shares that led to it."""

    model: PreTrainedModel
    speed: float
    shares: tuple[float, float]


class OutOfReach(Exception):
    """The method cannot cut a model to the asked speed."""

    def __init__(self, *, asked: float, fastest: float) -> None:
        super().__init__(f"{asked:g}x is out of reach, the fastest model is {fastest:.2f}x")
        self.fastest = fastest


def aim(
    cut: Cut, speed_of: Callable[[PreTrainedModel], float], *, asked: float, tolerance: float, refine: bool = True
) -> Aimed:
    """Bisect one share for heads and neurons alike, then that of the neurons alone, because heads are coarse.

    Args:
        cut: makes a candidate.
        speed_of: times or predicts it.
        asked: times faster than dense.
        tolerance: relative error of the speed that counts as a hit.
        refine: make the second bisection; a cut that chooses between heads and neurons itself needs none.

    Raises:
        OutOfReach: no share gives the asked speed within the tolerance.
    """
    search = _Search(cut, speed_of, asked)
    search.bisect(lambda share: (share, share))
    assert search.best is not None  # the first probe is always made
    heads = search.best.shares[0]
    if refine and search.error() > _CLOSE:
        search.bisect(lambda share: (heads, share))
    if search.error() > tolerance:
        raise OutOfReach(asked=asked, fastest=search.fastest)
    return search.best


class _Search:
    """The candidate nearest to the asked speed so far, and the fastest speed seen."""

    def __init__(self, cut: Cut, speed_of: Callable[[PreTrainedModel], float], asked: float) -> None:
        self._cut, self._speed_of, self._asked = cut, speed_of, asked
        self.best: Aimed | None = None
        self.fastest = 0.0

    def error(self) -> float:
        return float("inf") if self.best is None else abs(self.best.speed / self._asked - 1.0)

    def bisect(self, shares_of: Callable[[float], tuple[float, float]]) -> None:
        low = 0.0
        for high in _HIGHEST:
            if self._probe(shares_of(high)) >= self._asked:
                break
        else:
            return
        for _ in range(_STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._probe(shares_of(middle)) < self._asked else (low, middle)
            if self.error() <= _CLOSE:
                return

    def _probe(self, shares: tuple[float, float]) -> float:
        model = self._cut(*shares)
        speed = self._speed_of(model)
        self.fastest = max(self.fastest, speed)
        if abs(speed / self._asked - 1.0) < self.error():
            self.best = Aimed(model, speed, shares)
        return speed
