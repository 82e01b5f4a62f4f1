"""Many methods and budgets on one dense model: each method calibrates once, and every budget uses that."""

import copy
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import ValidationError
from transformers import PreTrainedModel

from secateur.config.prune import Budget, BudgetKind, Criterion, PruneSettings
from secateur.config.run import Precision
from secateur.config.schema import describe
from secateur.data.tokens import TokenRows
from secateur.errors import BudgetError, ConfigError, ModelError
from secateur.evaluation.cost import cost_of
from secateur.evaluation.latency_table import LatencyTable
from secateur.models.surgery import cut_, widths_of
from secateur.pruning.selection import Calibration, Dense, calibrate, calibration_sample
from secateur.pruning.state import achieved_fractions
from secateur.quality import MACRO_F1, PERPLEXITY, SCORES, Measure
from secateur.training.progress import progress
from secateur.training.validation import validate

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
        loss: on the validation rows, nats per row, of a generator per token.
        seconds: of choosing and cutting; the calibration that all budgets share is apart.
        error: why there is no such model, else None.
        front: no other point is both smaller and better.
        accuracy: of a classifier, on the validation rows.
        macro_f1: of a classifier, on the validation rows.
        perplexity: of a generator, on the validation rows.
    """

    method: str
    asked: float
    achieved: dict[str, float]
    widths: dict[str, Any]
    params: int
    macs: int
    loss: float
    seconds: float
    error: str | None = None
    front: bool = False
    accuracy: float | None = None
    macro_f1: float | None = None
    perplexity: float | None = None

    @property
    def measure(self) -> Measure:
        """What its task is judged by."""
        return MACRO_F1 if self.perplexity is None else PERPLEXITY

    @property
    def quality(self) -> float:
        """The score that decides; of a point without a model the worst there is."""
        value: float | None = getattr(self, self.measure.name)
        return 0.0 if value is None else value

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, without the scores of the other task."""
        return {name: value for name, value in asdict(self).items() if value is not None or name not in SCORES}


@dataclass(frozen=True)
class Sweep:
    """All points, the dense model, and what the calibration of each method took, seconds."""

    dense: Point
    points: tuple[Point, ...]
    calibration_s: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in ``reports/sweep.json``."""
        return {
            "measure": self.dense.measure.name,
            "dense": self.dense.as_dict(),
            "points": [point.as_dict() for point in self.points],
            "calibration_s": self.calibration_s,
        }


def sweep(
    model: PreTrainedModel,
    *,
    train: TokenRows,
    validation: TokenRows,
    methods: Sequence[Criterion],
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
                advance(f"{method} {fraction:g}: {point.measure.title} {point.quality:.4f}")
    return Sweep(dense=dense, points=tuple(with_front(points)), calibration_s=calibration_s)


def with_front(points: Iterable[Point]) -> list[Point]:
    """Mark the points that no other one beats in both MACs and quality; of equals, the first stays."""
    given = list(points)

    def order(point: Point) -> tuple[int, float]:
        return point.macs, -point.quality if point.measure.higher_is_better else point.quality

    front: set[int] = set()
    best: float | None = None
    for point in sorted((p for p in given if p.error is None), key=order):
        if best is None or point.measure.is_better(point.quality, best):
            front.add(id(point))
            best = point.quality
    return [replace(point, front=id(point) in front) for point in given]


def _settings(settings: PruneSettings, *, method: Criterion, kind: BudgetKind, fraction: float) -> PruneSettings:
    value = 1.0 - fraction if kind == "sparsity" else fraction
    changes = {
        "criterion": method,
        "budget": Budget.model_validate({kind: value}),
        "granularity": "structures",
        "pattern": None,
    }
    try:
        return PruneSettings.model_validate({**dict(settings), **changes})
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
        **asdict(scores),
    )


def _unreachable(method: str, asked: float, *, reason: str, dense: Point) -> Point:
    scores: dict[str, Any] = {name: 0.0 for name in SCORES if getattr(dense, name) is not None}
    return Point(
        method=method, asked=asked, achieved={}, widths={}, params=0, macs=0, loss=0.0, seconds=0.0,
        error=reason, **scores,
    )  # fmt: skip
