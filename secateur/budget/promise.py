"""How far to cut for a promise of quality: from a few drops that were seen to the error that keeps it.

Pure: nothing here knows a model. What is known of one are its error curve, exact and cheap, and drops of the validation
score after a recovery, which are dear and, for a classifier, noisy. Between the two a power law is assumed.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

_POWERS = np.linspace(0.3, 1.6, 27)
_USUAL_POWER, _POWER_SPREAD = 0.8, 0.3
_RELATIVE_NOISE = 0.3
"""How far a power law is trusted away from what was seen."""

_AIMS = (0.75, 0.5, 0.25, 0.1)
"""Share of the promise that a try aims at: the first leaves room for noise, each later one for more."""
_FARTHEST = 8.0
"""Errors are extrapolated to at most so many times what was seen."""
_GRID = 25


@dataclass(frozen=True)
class Seen:
    """A drop that was measured.

    Attributes:
        error: of the cut, by the criterion's curve.
        drop: of the validation score, in the unit of the promise; may be negative.
    """

    error: float
    drop: float


@dataclass(frozen=True)
class Law:
    """``drop = scale * error ** power``."""

    scale: float
    power: float

    def error_for(self, drop: float) -> float:
        """Return the error at which so much is lost; infinite when nothing ever is."""
        return (drop / self.scale) ** (1.0 / self.power) if self.scale > 0.0 else math.inf


def fit_law(seen: Sequence[Seen], *, noise: float) -> Law:
    """Fit a power law, the power drawn towards what is usual: one drop is enough, and more decide more.

    Args:
        seen: at least one, with positive errors.
        noise: standard deviation of a drop.
    """
    errors, drops = (np.array([getattr(one, name) for one in seen]) for name in ("error", "drop"))
    weights = 1.0 / (noise**2 + (_RELATIVE_NOISE * drops) ** 2 + 1e-12)
    best = (math.inf, Law(0.0, _USUAL_POWER))
    for power in _POWERS.tolist():
        basis = errors**power
        scale = max(float((weights * basis * drops).sum() / (weights * basis**2).sum()), 0.0)
        misfit = float((weights * (drops - scale * basis) ** 2).sum())
        misfit += ((power - _USUAL_POWER) / _POWER_SPREAD) ** 2
        best = min(best, (misfit, Law(scale, power)), key=lambda entry: entry[0])
    return best[1]


@dataclass(frozen=True)
class Ladder:
    """Targets from gentle to harsh, and the least error at each, which never falls.

    Attributes:
        targets: fractions of dense, descending.
        errors: positive, ascending.
    """

    targets: tuple[float, ...]
    errors: tuple[float, ...]

    @classmethod
    def of(cls, error: Callable[[float], float], *, smallest: float, largest: float) -> "Ladder":
        """Tabulate a curve in equal ratios between its two ends; steps that cost nothing are left out.

        Args:
            error: of a target.
            smallest: the harshest target that can be reached.
            largest: the target at which nothing goes.
        """
        floor = max(smallest, 1e-4 * largest)
        grid = np.geomspace(largest, floor, num=_GRID)[1:].tolist() if floor < largest else []
        grid = [max(target, smallest * (1.0 + 1e-9)) for target in grid]
        errors = np.maximum.accumulate([error(target) for target in grid]).tolist() if grid else []
        steps = [(target, cost) for target, cost in zip(grid, errors, strict=True) if cost > 0.0]
        return cls(tuple(target for target, _ in steps), tuple(cost for _, cost in steps))

    def target_at(self, error: float) -> float:
        """Return the harshest target whose error is at most this, interpolated; an end of the ladder beyond it."""
        logs = np.log(self.errors)
        # Equal errors in a row: the harshest of them costs no more.
        distinct = [place for place in range(len(logs)) if place + 1 == len(logs) or logs[place + 1] > logs[place]]
        targets = np.log(self.targets)
        wanted = math.log(min(max(error, self.errors[0]), self.errors[-1]))
        return math.exp(float(np.interp(wanted, logs[distinct], targets[distinct])))


def first_loss(ladder: Ladder, drop_of_cut: Callable[[float], float], *, wanted: float) -> int:
    """Return the place of the gentlest target whose cut alone, without recovery, loses so much: by halving.

    Args:
        ladder: where to look.
        drop_of_cut: measures a target; cheap, nothing is trained.
        wanted: drop; the last place when nothing before it loses that.
    """
    low, high = 0, len(ladder.targets) - 1
    while low < high:
        middle = (low + high) // 2
        if drop_of_cut(ladder.targets[middle]) >= wanted:
            high = middle
        else:
            low = middle + 1
    return low


def next_error(probes: Sequence[Seen], fulls: Sequence[Seen], *, promise: float, noise: float, gain: float) -> float:
    """Return the error to try next.

    Args:
        probes: seen after short recoveries.
        fulls: seen after whole ones, in the order in which they were tried; all of them broke the promise.
        promise: drop that may be lost.
        noise: standard deviation of a drop.
        gain: share of a short recovery's drop that is left after a whole one.
    """
    known = [Seen(one.error, gain * one.drop) for one in probes] + list(fulls)
    law = fit_law(known, noise=noise)
    aim = promise * _AIMS[min(len(fulls), len(_AIMS) - 1)]
    found = within_reach(law.error_for(aim), known)
    # A promise that was broken is not asked for again, whatever the law says.
    return min([found, *(one.error / 2.0 for one in fulls)])


def within_reach(error: float, seen: Iterable[Seen]) -> float:
    """Bring an error to what may be extrapolated."""
    errors = [one.error for one in seen]
    return min(max(error, min(errors) / _FARTHEST), max(errors) * _FARTHEST)
