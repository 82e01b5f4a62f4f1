"""Many methods and budgets on one dense model: each method calibrates once, and every budget uses that."""

import copy
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from pydantic import ValidationError
from transformers import PreTrainedModel

from secateur.budget.cost import cost_of
from secateur.budget.latency_table import LatencyTable
from secateur.config.prune import Budget, BudgetKind, PruneSettings
from secateur.config.run import Precision
from secateur.config.schema import describe
from secateur.data.tokens import TokenRows
from secateur.errors import BudgetError, ConfigError, ModelError
from secateur.kinds.registry import measure_named
from secateur.models.surgery import cut_, widths_of
from secateur.progress import progress
from secateur.pruning.selection import Calibration, Dense, calibrate, calibration_sample
from secateur.pruning.state import achieved_fractions
from secateur.quality import Measure
from secateur.training.validation import Scores, validate

_EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Point:
    """One pruned model of a sweep; nothing was trained.

    Attributes:
        method: criterion.
        asked: fraction of dense in the unit of the budget.
        achieved: fractions of dense, by kind of budget.
        widths: heads and neurons per layer.
        params: all parameters.
        macs: of encoder and head, for one row.
        scores: on the validation rows; of a point without a model zeros.
        seconds: of choosing and cutting; the calibration that all budgets share is apart.
        error: why there is no such model, else None.
        front: no other point is both smaller and better.
    """

    method: str
    asked: float
    achieved: dict[str, float]
    widths: dict[str, Any]
    params: int
    macs: int
    scores: Scores
    seconds: float
    error: str | None = None
    front: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "scores"}
        return values | self.scores.as_dict()


@dataclass(frozen=True)
class Sweep:
    """All points, the dense model, and what the calibration of each method took, seconds."""

    dense: Point
    points: tuple[Point, ...]
    calibration_s: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in ``reports/sweep.json``."""
        return {
            "measure": self.dense.scores.measure.name,
            "dense": self.dense.as_dict(),
            "points": [point.as_dict() for point in self.points],
            "calibration_s": self.calibration_s,
        }


def sweep(
    model: PreTrainedModel,
    *,
    train: TokenRows,
    validation: TokenRows,
    methods: Sequence[str],
    kind: BudgetKind,
    fractions: Sequence[float],
    settings: PruneSettings,
    seed: int,
    precision: Precision,
    table: LatencyTable | None = None,
) -> Sweep:
    """Prune copies of a dense model by every method to every budget, without training, and score them.

    Args:
        model: the dense model; it is left as it is.
        train: rows to calibrate on.
        validation: rows to score on.
        methods: criteria for structures.
        kind: unit of the budgets.
        fractions: what may stay of dense, in (0, 1].
        settings: everything else.
        seed: of the calibration sample and the search.
        precision: arithmetic of the matrix products.
        table: measured prices, for budgets of latency.
    """
    own_settings = {
        method: _settings(settings, method=method, kind=kind, fraction=min(fractions)) for method in methods
    }
    reference = Dense(model.config, table)
    dense = _point(model, reference, validation, precision=precision, method="dense", asked=1.0, seconds=0.0)
    points: list[Point] = []
    calibration_s: dict[str, float] = {}
    with progress("sweep", total=len(methods) * len(fractions)) as advance:
        for method, own in own_settings.items():
            started = time.monotonic()
            sample = calibration_sample(train, num_rows=own.calibration_rows, seed=seed)
            calibration = Calibration(rows=sample, settings=own, seed=seed, precision=precision)
            selector = calibrate(model, calibration, dense=reference, kept=None)
            calibration_s[method] = round(time.monotonic() - started, 3)
            for fraction in fractions:
                started = time.monotonic()
                narrowed = copy.deepcopy(model)
                try:
                    cut_(narrowed, selector.select_(narrowed, target=fraction))
                except (BudgetError, ModelError) as error:  # too little is left, or nothing
                    points.append(_unreachable(method, fraction, reason=str(error), dense=dense))
                    advance()
                    continue
                seconds = time.monotonic() - started
                point = _point(
                    narrowed, reference, validation, precision=precision, method=method, asked=fraction, seconds=seconds
                )
                points.append(point)
                advance(f"{method} {fraction:g}: {point.scores.measure.title} {point.scores.quality:.4f}")
    return Sweep(dense=dense, points=tuple(with_front(points)), calibration_s=calibration_s)


def with_front(points: Iterable[Point]) -> list[Point]:
    """Mark the points that no other one beats in both MACs and quality; of equals, the first stays."""
    given = list(points)
    found = {number: (point.macs, point.scores.quality) for number, point in enumerate(given) if point.error is None}
    front = _front(found, given[0].scores.measure) if given else set()
    return [replace(point, front=number in front) for number, point in enumerate(given)]


def joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sweep, as plain values, of which these are the parts, each of other methods on the same model."""
    measure = measure_named(parts[0]["measure"])
    points: list[dict[str, Any]] = [point for part in parts for point in part["points"]]
    found = {number: (p["macs"], p[measure.name]) for number, p in enumerate(points) if p["error"] is None}
    front = _front(found, measure)
    return {
        **parts[0],
        "points": [{**point, "front": number in front} for number, point in enumerate(points)],
        "calibration_s": {method: seconds for part in parts for method, seconds in part["calibration_s"].items()},
    }


def _front(found: Mapping[int, tuple[int, float]], measure: Measure) -> set[int]:
    """Return the numbers of those that no other one beats; each has its MACs and its quality."""

    def order(number: int) -> tuple[int, float]:
        macs, quality = found[number]
        return macs, -quality if measure.higher_is_better else quality

    front: set[int] = set()
    best: float | None = None
    for number in sorted(found, key=order):
        quality = found[number][1]
        if best is None or measure.is_better(quality, best):
            front.add(number)
            best = quality
    return front


def _settings(settings: PruneSettings, *, method: str, kind: BudgetKind, fraction: float) -> PruneSettings:
    value = 1.0 - fraction if kind == "sparsity" else fraction
    changes = {
        "criterion": method,
        "budget": Budget.model_validate({kind: value}),
        "granularity": "structures",
        "pattern": None,
    }
    try:
        values = {name: getattr(settings, name) for name in PruneSettings.model_fields}
        return PruneSettings.model_validate(values | changes)
    except ValidationError as error:
        raise ConfigError(f"sweep of {method}: {describe(error).removeprefix('params.yaml: ')}") from error


def _point(
    model: PreTrainedModel,
    dense: Dense,
    validation: TokenRows,
    *,
    precision: Precision,
    method: str,
    asked: float,
    seconds: float,
) -> Point:
    scores = validate(model, validation, batch_size=_EVALUATION_BATCH, precision=precision)
    cost = cost_of(model)
    return Point(
        method=method,
        asked=asked,
        achieved=achieved_fractions(model, dense=dense),
        widths=widths_of(model).as_dict(),
        params=cost.params,
        macs=cost.macs,
        seconds=round(seconds, 3),
        scores=scores,
    )


def _unreachable(method: str, asked: float, *, reason: str, dense: Point) -> Point:
    scores = replace(dense.scores, loss=0.0, values=dict.fromkeys(dense.scores.values, 0.0))
    return Point(
        method=method, asked=asked, achieved={}, widths={}, params=0, macs=0, scores=scores, seconds=0.0,
        error=reason,
    )  # fmt: skip
