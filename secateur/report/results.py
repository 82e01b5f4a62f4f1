"""The only place that knows the JSON of the stages: metrics, details, latency and cards become results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from secateur.models.card import Card
from secateur.quality import MACRO_F1, PERPLEXITY, Measure

Json = Mapping[str, Any]
HistoryRow = Mapping[str, float | None]

DENSE = "baseline"


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
        value: of macro-F1 the difference, of perplexity the relative growth.
        low: end of the interval.
        high: end of the interval.
        lost: rows that only dense gets right; None of a generator.
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
    """The form that goes into production: its scores on the test set, and the size of its folder."""

    macro_f1: Interval
    accuracy: float
    bytes: int


@dataclass(frozen=True)
class RobustnessResult:
    """Macro-F1 on a sample of the test rows: clean, under each attack, and the mean over the attacks."""

    clean: float
    mean: float
    attacks: Mapping[str, float]


@dataclass(frozen=True)
class TextResult:
    """A generator on the test texts, and what it wrote.

    Attributes:
        perplexity: per token.
        char_perplexity: per character.
        control: share of its texts that a judge finds to be what was asked for; None without a judge.
        distinct: different n-grams over all n-grams for n = 1, 2, 3.
        repetition: share of the 4-grams of a text that stood in it before.
        copied: share of passages of 20 characters that stand in the training texts.
        tokens_per_second: texts at once -> tokens per second of all of them; empty when nothing was timed.
    """

    perplexity: Interval
    char_perplexity: Interval
    control: Interval | None
    distinct: tuple[float, ...]
    repetition: float
    copied: float
    tokens_per_second: Mapping[int, float]


@dataclass(frozen=True)
class ModelResult:
    """One model: dense, or what a round tried, whether it was accepted or rolled back.

    ``budget``, ``deployed``, ``robustness`` and ``change`` are None where the files say nothing of them. A classifier
    has ``macro_f1`` and ``accuracy``, a generator ``text``.
    """

    name: str
    accepted: bool
    params: int
    nonembedding_params: int
    macs: int
    bytes: int
    sparsity: float
    macro_f1: Interval | None
    accuracy: Interval | None
    text: TextResult | None
    timings: Mapping[str, Timing]
    budget: Budget | None
    deployed: DeployedResult | None
    robustness: RobustnessResult | None
    change: Change | None
    card: Card
    details: Json

    @property
    def measure(self) -> Measure:
        """What the model is judged by."""
        return MACRO_F1 if self.text is None else PERPLEXITY

    @property
    def quality(self) -> Interval:
        """The score that judges it, on the test set."""
        found = self.macro_f1 if self.text is None else self.text.perplexity
        assert found is not None  # one of them always is
        return found

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


def stale_timings(data: ReportData) -> tuple[str, ...]:
    """Return the models whose times were measured on other weights than those of the page."""
    weights = (data.latency or {}).get("weights", {})
    return tuple(
        name
        for name, card in sorted(data.cards.items())
        if name in weights and card.came_to.weights_sha256 not in (None, weights[name])
    )


def _read_model(name: str, entry: Json, data: ReportData) -> ModelResult:
    card, details = data.cards.get(name, Card()), data.details.get("models", {}).get(name, {})
    return ModelResult(
        name=name,
        accepted=bool(entry.get("accepted", True)),
        params=entry["params"],
        nonembedding_params=entry["nonembedding_params"],
        macs=entry["macs"],
        bytes=entry["bytes"],
        sparsity=entry["sparsity"],
        macro_f1=_interval(entry, "macro_f1") if "perplexity" not in entry else None,
        accuracy=_interval(entry, "accuracy") if "perplexity" not in entry else None,
        text=_text(name, entry, data) if "perplexity" in entry else None,
        timings=_timings(name, data),
        budget=_budget(card),
        deployed=_deployed(entry),
        robustness=_robustness(entry, details),
        change=_change(entry),
        card=card,
        details=details,
    )


def _text(name: str, entry: Json, data: ReportData) -> TextResult:
    timed = [] if data.latency is None or name in stale_timings(data) else data.latency.get("throughput", [])
    return TextResult(
        perplexity=_interval(entry, "perplexity"),
        char_perplexity=_interval(entry, "char_perplexity"),
        control=_interval(entry, "control_accuracy") if "control_accuracy" in entry else None,
        distinct=tuple(entry[f"distinct_{size}"] for size in (1, 2, 3)),
        repetition=entry["repetition"],
        copied=entry["copied"],
        tokens_per_second={row["batch"]: row["tokens_per_second"] for row in timed if row["checkpoint"] == name},
    )


def _budget(card: Card) -> Budget | None:
    """Read what was asked of a round; a rolled-back one shows what it tried."""
    for kind, asked in (card.asked or {}).items():
        return Budget(kind=kind, asked=asked, achieved=(card.came_to.achieved or {}).get(kind))
    return None


def _deployed(entry: Json) -> DeployedResult | None:
    if "deployed_macro_f1" not in entry:
        return None
    return DeployedResult(
        macro_f1=_interval(entry, "deployed_macro_f1"),
        accuracy=entry["deployed_accuracy"],
        bytes=entry["deployed_bytes"],
    )


def _change(entry: Json) -> Change | None:
    name = "perplexity_change" if "perplexity" in entry else "deployed_change"
    if name not in entry:
        return None
    counts = {field: entry.get(f"deployed_{field}") for field in ("lost", "won", "p_value")}
    return Change(value=entry[name], low=entry[f"{name}_low"], high=entry[f"{name}_high"], **counts)


def _robustness(entry: Json, details: Json) -> RobustnessResult | None:
    found: Json = details.get("robustness") or {}
    if "robust_macro_f1" not in entry or "clean" not in found:
        return None
    attacks = {name: score["macro_f1"] for name, score in found.get("attacks", {}).items()}
    return RobustnessResult(clean=found["clean"]["macro_f1"], mean=entry["robust_macro_f1"], attacks=attacks)


def _interval(entry: Json, name: str) -> Interval:
    value = entry[name]
    return Interval(value=value, low=entry.get(f"{name}_low", value), high=entry.get(f"{name}_high", value))


def _timings(name: str, data: ReportData) -> Mapping[str, Timing]:
    if data.latency is None or name in stale_timings(data):
        return {}
    return {
        row["runtime"]: Timing(median_ms=row["median_ms"], p95_ms=row["p95_ms"], speedup=row["speedup"])
        for row in data.latency.get("results", [])
        if row["checkpoint"] == name
    }


def round_number(name: str) -> tuple[int, str]:
    """Return a sort key that puts baseline first and r10 after r9."""
    digits = name.removeprefix("r")
    return (int(digits) if digits.isdecimal() else 0, name)
