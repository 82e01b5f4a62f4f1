"""The only place that knows the JSON of the stages: metrics, details, latency and cards become results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from secateur.kinds.base import Kind
from secateur.kinds.registry import DEFAULT, kind_named
from secateur.models.card import Card
from secateur.report import formats

Json = Mapping[str, Any]
HistoryRow = Mapping[str, float | None]

DENSE = "baseline"
TORCH = "torch"


@dataclass(frozen=True)
class ReportData:
    """Everything that the page shows, as the stages wrote it.

    Attributes:
        title: heading of the page.
        metrics: content of ``reports/metrics.json``.
        details: content of ``reports/details.json``.
        data: content of ``reports/data.json``.
        latency: content of ``reports/latency.json``, or None when nothing was timed.
        registered: content of ``reports/registered.json``, or None when nothing was registered.
        cards: model name (``baseline``, ``r1``, ...) -> its card.
        histories: model name -> rows of its training history, in order of time.
        gate: content of ``reports/gate.json``, or None when no promotion was asked for.
        drift: content of ``reports/drift.json``, or None when nothing was retrained.
        retrain: content of ``reports/retrain.json``, or None when nothing was retrained.
        max_examples: examples per cleaning rule.
        live: content of ``reports/live.json``, or None when no server watches.
    """

    title: str
    metrics: Json
    details: Json
    data: Json
    latency: Json | None
    registered: Json | None
    gate: Json | None
    drift: Json | None
    retrain: Json | None
    cards: Mapping[str, Card]
    histories: Mapping[str, Sequence[HistoryRow]]
    max_examples: int
    live: Json | None = None


@dataclass(frozen=True)
class Interval:
    """A score with its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Timing:
    """Measured time of one call, milliseconds; ``speedup`` is against dense on the same runtime."""

    median_ms: float
    p95_ms: float
    speedup: float


@dataclass(frozen=True)
class Budget:
    """What a round was asked for and what it came to, as fractions of dense (of sparsity: the share that is gone)."""

    kind: str
    asked: float
    achieved: float | None


@dataclass(frozen=True)
class Change:
    """What became of a score against dense on the same test rows, in pairs.

    Attributes:
        value: of a score that is better when higher the difference, else the relative growth.
        low: end of the interval.
        high: end of the interval.
        lost: rows that only dense gets right; None where a row is not right or wrong.
        won: rows that only the other model gets right.
        p_value: of "both are right equally often".
    """

    value: float
    low: float
    high: float
    lost: int | None = None
    won: int | None = None
    p_value: float | None = None

    def is_significant(self, *, level: float) -> bool:
        """Tell whether chance explains it less often than once in ``1 / (1 - level)`` cases, by either test."""
        outside = self.low > 0 or self.high < 0
        return outside or (self.p_value is not None and self.p_value < 1.0 - level)


@dataclass(frozen=True)
class DeployedResult:
    """The form that goes into production: its deciding score on the test set, and the size of its folder."""

    quality: Interval
    bytes: int


@dataclass(frozen=True)
class RobustnessResult:
    """The deciding score on a sample of the test rows: clean, under each attack, and the mean over the attacks."""

    clean: float
    mean: float
    attacks: Mapping[str, float]


@dataclass(frozen=True)
class ModelResult:
    """One model: dense, or what a round tried, whether it was accepted or rolled back.

    ``budget``, ``deployed``, ``robustness`` and ``change`` are None where the files say nothing of them. ``entry`` is
    that of metrics.json, and ``tokens_per_second`` is by texts at once: empty where no writing was timed.
    """

    kind: Kind
    name: str
    accepted: bool
    params: int
    nonembedding_params: int
    macs: int
    bytes: int
    sparsity: float
    timings: Mapping[str, Timing]
    tokens_per_second: Mapping[int, float]
    budget: Budget | None
    deployed: DeployedResult | None
    robustness: RobustnessResult | None
    change: Change | None
    card: Card
    details: Json
    entry: Json

    @property
    def quality(self) -> Interval:
        """The score that decides, on the test set."""
        return _interval(self.entry, self.kind.measure.name)

    def quality_in(self, runtime: str, *, deployed: str | None) -> Interval:
        """The deciding score in the form of a runtime: of the deployed form its own, of the others that of PyTorch."""
        return self.deployed.quality if self.deployed is not None and runtime == deployed else self.quality

    def score(self, name: str) -> Interval | None:
        """Return a score on the test set; its ends are itself where nobody resampled."""
        return _interval(self.entry, name) if name in self.entry else None

    @property
    def title(self) -> str:
        """What a reader calls the model."""
        return "dense" if self.name == DENSE else self.name

    @property
    def is_dense(self) -> bool:
        """Tell whether this is the reference."""
        return self.name == DENSE

    @property
    def verdict(self) -> str:
        """What became of the model."""
        if self.is_dense:
            return "reference"
        return "accepted" if self.accepted else "rolled back"


@dataclass(frozen=True)
class SkippedRound:
    """A round that never ran, because one before it was rolled back; there is nothing to measure."""

    name: str
    card: Card


def read_results(data: ReportData) -> tuple[ModelResult, ...]:
    """Join what the stages say about each model that was measured: dense first, then the rounds in order."""
    rounds = [(name, entry) for name, entry in _rounds(data) if "params" in entry]
    return tuple(_read_model(name, entry, data) for name, entry in [(DENSE, data.metrics[DENSE]), *rounds])


def skipped_rounds(data: ReportData) -> tuple[SkippedRound, ...]:
    """Return the rounds that have no numbers, in order."""
    return tuple(
        SkippedRound(name, data.cards.get(name, Card())) for name, entry in _rounds(data) if "params" not in entry
    )


def _rounds(data: ReportData) -> list[tuple[str, Json]]:
    return sorted(data.metrics.get("rounds", {}).items(), key=lambda item: round_number(item[0]))


def runtimes(results: Sequence[ModelResult]) -> tuple[str, ...]:
    """Return the runtimes on which any model was timed, in a fixed order."""
    found = {runtime for result in results for runtime in result.timings}
    known = ("torch", "onnx", "onnx-int8")
    return tuple(sorted(found, key=lambda name: (known.index(name) if name in known else len(known), name)))


def form_of_scores(results: Sequence[ModelResult], details: Json) -> str:
    """Name the form that the scores are of which say nothing else; nothing where it is the only one."""
    another = details.get("deployed", TORCH) != TORCH and any(result.deployed for result in results)
    return formats.runtime(TORCH) if another else ""


def stale_timings(data: ReportData) -> tuple[str, ...]:
    """Return the models whose times were measured on other weights than those of the page."""
    weights = (data.latency or {}).get("weights", {})
    return tuple(
        name
        for name, card in sorted(data.cards.items())
        if name in weights and card.came_to.weights_sha256 not in (None, weights[name])
    )


def kind_of(data: ReportData) -> Kind:
    """Return the kind of task of a run: that of the dense model's card.

    Raises:
        ConfigError: no package brings it any more.
    """
    card = data.cards.get(DENSE, Card())
    return kind_named(card.task or data.details.get("task") or DEFAULT)


def _read_model(name: str, entry: Json, data: ReportData) -> ModelResult:
    kind, card = kind_of(data), data.cards.get(name, Card())
    details = data.details.get("models", {}).get(name, {})
    return ModelResult(
        kind=kind,
        name=name,
        accepted=bool(entry.get("accepted", True)),
        params=entry["params"],
        nonembedding_params=entry["nonembedding_params"],
        macs=entry["macs"],
        bytes=entry["bytes"],
        sparsity=entry["sparsity"],
        timings={
            row["runtime"]: Timing(median_ms=row["median_ms"], p95_ms=row["p95_ms"], speedup=row["speedup"])
            for row in _timed(name, data, "results")
        },
        tokens_per_second={row["batch"]: row["tokens_per_second"] for row in _timed(name, data, "throughput")},
        budget=_budget(card),
        deployed=_deployed(entry, score=kind.measure.name),
        robustness=_robustness(entry, details, score=kind.measure.name),
        change=_change(entry, score=kind.measure.name),
        card=card,
        details=details,
        entry=entry,
    )


def _budget(card: Card) -> Budget | None:
    """Read what was asked of a round; a rolled-back one shows what it tried."""
    for kind, asked in (card.asked or {}).items():
        return Budget(kind=kind, asked=asked, achieved=(card.came_to.achieved or {}).get(kind))
    return None


def _deployed(entry: Json, *, score: str) -> DeployedResult | None:
    if f"deployed_{score}" not in entry:
        return None
    return DeployedResult(quality=_interval(entry, f"deployed_{score}"), bytes=entry["deployed_bytes"])


def _change(entry: Json, *, score: str) -> Change | None:
    """Read the change of the deployed form, or of the score where no form has one of its own."""
    name = "deployed_change" if "deployed_change" in entry else f"{score}_change"
    if name not in entry:
        return None
    counts = {field: entry.get(f"deployed_{field}") for field in ("lost", "won", "p_value")}
    return Change(value=entry[name], low=entry[f"{name}_low"], high=entry[f"{name}_high"], **counts)


def _robustness(entry: Json, details: Json, *, score: str) -> RobustnessResult | None:
    found: Json = details.get("robustness") or {}
    if f"robust_{score}" not in entry or "clean" not in found:
        return None
    attacks = {name: scores[score] for name, scores in found.get("attacks", {}).items()}
    return RobustnessResult(clean=found["clean"][score], mean=entry[f"robust_{score}"], attacks=attacks)


def _interval(entry: Json, name: str) -> Interval:
    value = entry[name]
    return Interval(value=value, low=entry.get(f"{name}_low", value), high=entry.get(f"{name}_high", value))


def _timed(name: str, data: ReportData, part: str) -> list[Json]:
    """Return the rows of latency.json about a model; none where its times belong to other weights."""
    if data.latency is None or name in stale_timings(data):
        return []
    return [row for row in data.latency.get(part, []) if row["checkpoint"] == name]


def round_number(name: str) -> tuple[int, str]:
    """Return a sort key that puts baseline first and r10 after r9."""
    digits = name.removeprefix("r")
    return (int(digits) if digits.isdecimal() else 0, name)
