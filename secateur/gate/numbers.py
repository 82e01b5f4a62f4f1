"""Conditions of the gate for models that tell numbers. Pure: what was measured in, conditions out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secateur.config.promote import PromoteSection
from secateur.gate.condition import Condition, Mask
from secateur.gate.costs import latency, size
from secateur.gate.groups import Groups
from secateur.gate.harmless import Change, harmless
from secateur.quality import Measure
from secateur.statistics.margins import margin_of
from secateur.statistics.numbers import Scoring, explained

FloatArray = npt.NDArray[np.float64]

_SHARE = "explained"


@dataclass(frozen=True)
class NumberRows:
    """The rows that are judged on.

    Attributes:
        truth: number of every test row, (rows,), at least one.
        slices: name -> which rows belong to it, (rows,).
        scoring: how they are scored.
        measure: the score that decides.
        least: of it, ``promote.min_...``.
        seed: of the bootstrap.
    """

    truth: FloatArray
    slices: Mapping[str, Mask]
    scoring: Scoring
    measure: Measure
    least: float
    seed: int


@dataclass(frozen=True)
class Told:
    """One model in its deployed form.

    Attributes:
        said: number of every test row, (rows,).
        bytes: of all files of the folder that is deployed.
        latency_ms: of every timed call, (repeats,), call by call beside those of the other model.
    """

    said: FloatArray
    bytes: int
    latency_ms: Sequence[float]


def judge_numbers(
    rows: NumberRows, *, challenger: Told, champion: Told | None, settings: PromoteSection
) -> tuple[Condition, ...]:
    """Return every condition, passed or not; without a champion those that need none."""
    conditions = [_floor(rows, challenger)]
    if champion is not None:
        conditions.append(_drop(rows, challenger, champion, settings))
    return (
        *conditions,
        latency(challenger, champion, settings.latency),
        size(challenger, champion, settings.size),
        _slices(rows, challenger, champion, settings),
    )


def _score(rows: NumberRows, told: Told) -> float:
    return rows.scoring.of(rows.truth, told.said)[rows.scoring.deciding]


def _floor(rows: NumberRows, challenger: Told) -> Condition:
    score, least, title = _score(rows, challenger), rows.least, rows.measure.title
    passed = score >= least
    against = f"{'holds' if passed else 'is below'} the floor {least:.4f}"
    return Condition(
        "quality_floor",
        f"{title} of {least:.4f} or more",
        f"{score:.4f}",
        passed,
        f"{title} {score:.4f} on {len(rows.truth)} test rows {against}",
        {rows.measure.name: score, f"min_{rows.measure.name}": least},
    )


def _drop(rows: NumberRows, challenger: Told, champion: Told, settings: PromoteSection) -> Condition:
    wanted, count = settings.significance, len(rows.truth)
    differences = rows.scoring.change(
        rows.truth, before=champion.said, after=challenger.said, samples=wanted.samples, seed=rows.seed
    )
    lowest = float(np.quantile(differences, wanted.level))
    found = Change(rows.measure.title, _score(rows, champion), _score(rows, challenger), lowest=lowest)
    allowed = margin_of(settings.max_drop, [count], level=wanted.level)
    return harmless("quality_drop", found, settings, allowed=allowed, rows=count)


def _slices(rows: NumberRows, challenger: Told, champion: Told | None, settings: PromoteSection) -> Condition:
    """Judge the share of the spread of all numbers that is explained on every slice with enough rows."""
    wanted = settings.slices
    # Of a slice whose numbers are hard to tell, more than the whole variance may be left: 0 asks for nothing.
    judged = Groups(_SHARE, wanted.min_accuracy or -math.inf)
    for name, mask in rows.slices.items():
        if int(mask.sum()) < wanted.min_rows:
            continue
        after = explained_on(mask, truth=rows.truth, said=challenger.said)
        judged.floor(name, after)
        if champion is not None:
            before = explained_on(mask, truth=rows.truth, said=champion.said)
            judged.drop(name, _SHARE, before, after, allowed=wanted.max_drop)
    asked = [f"of {wanted.min_accuracy:g} or more"] if wanted.min_accuracy else []
    asked += [] if champion is None else [f"at most {wanted.max_drop:g} below the champion's"]
    said = f"explained share {', '.join(asked)}" if asked else "any explained share"
    return judged.condition("slices", said, f"slice with {wanted.min_rows} rows or more")


def explained_on(mask: Mask, *, truth: FloatArray, said: FloatArray) -> float:
    """Return 1 less the squared error on some rows by the variance of all.

    R² of a slice would divide by the slice's own variance, which may be next to nothing where its numbers are alike.
    """
    squares = float(((said - truth)[mask] ** 2).mean())
    return float(explained(squares, about_mean=float(truth.var())))
