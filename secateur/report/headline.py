"""Which round the page is about, and the one sentence that says so."""

from collections.abc import Sequence
from dataclasses import dataclass

from secateur.report import formats
from secateur.report.results import ModelResult, runtimes

_DEPLOYED = ("onnx", "onnx-int8", "torch")


@dataclass(frozen=True)
class Figure:
    """One key figure: what it is, its value, and what it is compared with."""

    name: str
    value: str
    note: str


@dataclass(frozen=True)
class Headline:
    """The round it is about (None when no round was accepted), the sentence and why it is that one."""

    best: ModelResult | None
    sentence: str
    rule: str
    figures: tuple[Figure, ...]


def reference_runtime(results: Sequence[ModelResult]) -> str | None:
    """Return the runtime the headline speaks of: the deployed one when it was timed."""
    timed = runtimes(results)
    return next((name for name in _DEPLOYED if name in timed), timed[0] if timed else None)


def headline(results: Sequence[ModelResult], *, confidence_level: float | None) -> Headline:
    """Speak of the last accepted round, the one that also becomes the registry's challenger.

    Acceptance rests on validation scores. Choosing by the scores on this page would be choosing on the test set.
    """
    dense = results[0]
    runtime = reference_runtime(results)
    accepted = [result for result in results[1:] if result.accepted]
    if not accepted:
        return Headline(best=None, sentence=_refusal(results), rule="", figures=_dense_figures(dense, runtime))
    best = accepted[-1]
    level = formats.percent(confidence_level) if confidence_level else "confidence"
    overlap = "overlap" if best.macro_f1.overlaps(dense.macro_f1) else "do not overlap"
    sentence = f"{best.title} {_speed(best, dense, runtime)} and {_quality(best, dense)} ({level} intervals {overlap})."
    rule = f"{best.title} is the last accepted round. Validation scores decide on that, so the test set had no say."
    return Headline(best=best, sentence=sentence, rule=rule, figures=_figures(best, dense, runtime))


def _speed(best: ModelResult, dense: ModelResult, runtime: str | None) -> str:
    if runtime is None or runtime not in best.timings:
        return f"needs {formats.percent(best.macs / dense.macs)} of the dense model's multiply-accumulates"
    speedup = best.timings[runtime].speedup
    if speedup >= 1.05:
        return f"runs {formats.times(speedup)} faster than dense"
    if speedup <= 0.95:
        return f"runs {formats.times(1 / speedup)} slower than dense"
    return "runs no faster than dense"


def _quality(best: ModelResult, dense: ModelResult) -> str:
    change = best.macro_f1.value - dense.macro_f1.value
    size = f"{abs(100 * change):.1f}"
    if float(size) == 0:
        return "keeps its macro-F1"
    return f"{'loses' if change < 0 else 'gains'} {size} {'point' if size == '1.0' else 'points'} of macro-F1"


def _refusal(results: Sequence[ModelResult]) -> str:
    if len(results) == 1:
        return "There is no pruned model yet: no round has run."
    rounds = len(results) - 1
    which = "The only round was" if rounds == 1 else f"None of the {rounds} rounds was"
    verdict = "rolled back" if rounds == 1 else "accepted"
    return f"{which} {verdict}: pruning lost more quality than allowed, so the dense model stays."


def _figures(best: ModelResult, dense: ModelResult, runtime: str | None) -> tuple[Figure, ...]:
    return (
        *_time_figures(best, dense, runtime),
        Figure(
            "Macro-F1 on test",
            formats.score(best.macro_f1.value),
            f"dense {formats.score(dense.macro_f1.value)}, "
            f"{formats.points(best.macro_f1.value - dense.macro_f1.value)} points",
        ),
        Figure(
            "Multiply-accumulates",
            formats.percent(best.macs / dense.macs),
            f"{_one(best.macs)} of {_one(dense.macs)} per row",
        ),
        Figure(
            "Encoder parameters",
            formats.percent(best.nonembedding_params / dense.nonembedding_params),
            f"{_one(best.nonembedding_params)} of {_one(dense.nonembedding_params)}",
        ),
        Figure("On disk", _one(_on_disk(best), "B"), f"dense {_one(_on_disk(dense), 'B')}"),
    )


def _on_disk(result: ModelResult) -> int:
    """Return the size of what is deployed, or of the weights where no form was evaluated."""
    return result.bytes if result.deployed is None else result.deployed.bytes


def _time_figures(best: ModelResult, dense: ModelResult, runtime: str | None) -> tuple[Figure, ...]:
    if runtime is None or runtime not in best.timings or runtime not in dense.timings:
        return ()
    fast, slow = best.timings[runtime], dense.timings[runtime]
    unit = formats.unit_for_ms([slow.median_ms])
    return (
        Figure(
            f"Median time, {formats.runtime(runtime)}",
            unit.with_symbol(fast.median_ms),
            f"dense {unit.with_symbol(slow.median_ms)}, {formats.times(fast.speedup)}",
        ),
    )


def _dense_figures(dense: ModelResult, runtime: str | None) -> tuple[Figure, ...]:
    interval = f"{formats.score(dense.macro_f1.low)} to {formats.score(dense.macro_f1.high)}"
    figures = [
        Figure("Macro-F1 of dense on test", formats.score(dense.macro_f1.value), interval),
        Figure("Parameters of dense", _one(dense.params), f"{_one(dense.nonembedding_params)} outside embeddings"),
    ]
    if runtime is not None and runtime in dense.timings:
        shown = formats.unit_for_ms([dense.timings[runtime].median_ms]).with_symbol(dense.timings[runtime].median_ms)
        figures.append(Figure("Median time of dense", shown, formats.runtime(runtime)))
    return tuple(figures)


def _one(value: float, suffix: str = "") -> str:
    return formats.unit_for([value], suffix).with_symbol(value)
