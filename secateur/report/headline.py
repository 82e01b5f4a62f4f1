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
    overlap = "overlap" if best.quality.overlaps(dense.quality) else "do not overlap"
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
    if best.text is not None:
        return _perplexity(best, dense)
    change = best.quality.value - dense.quality.value
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


def _perplexity(best: ModelResult, dense: ModelResult) -> str:
    """Say what became of the perplexity, which is better when it is lower."""
    growth = best.quality.value / dense.quality.value - 1.0
    if abs(growth) < 0.0005:
        return "keeps its perplexity"
    return f"has {formats.percent(abs(growth), 1)} {'more' if growth > 0 else 'less'} perplexity"


def _figures(best: ModelResult, dense: ModelResult, runtime: str | None) -> tuple[Figure, ...]:
    if best.text is not None:
        return (*_time_figures(best, dense, runtime), *_text_figures(best, dense))
    return (
        *_time_figures(best, dense, runtime),
        Figure(
            "Macro-F1 on test",
            formats.score(best.quality.value),
            f"dense {formats.score(dense.quality.value)}, "
            f"{formats.points(best.quality.value - dense.quality.value)} points",
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


def _text_figures(best: ModelResult, dense: ModelResult) -> tuple[Figure, ...]:
    assert best.text is not None and dense.text is not None
    figures = []
    for batch in sorted(set(best.text.tokens_per_second) & set(dense.text.tokens_per_second)):
        fast, slow = best.text.tokens_per_second[batch], dense.text.tokens_per_second[batch]
        name = f"Tokens per second, {batch} {'text' if batch == 1 else 'texts'} at once"
        figures.append(Figure(name, formats.count(fast), f"dense {formats.count(slow)}, {formats.times(fast / slow)}"))
    growth = best.quality.value / dense.quality.value - 1.0
    sign = "+" if growth >= 0 else "\u2212"
    shown = f"dense {formats.perplexity(dense.quality.value)}, {sign}{formats.percent(abs(growth), 1)}"
    figures.append(Figure("Perplexity on test", formats.perplexity(best.quality.value), shown))
    if best.text.control is not None and dense.text.control is not None:
        said, before = (formats.percent(text.control.value, 1) for text in (best.text, dense.text) if text.control)
        figures.append(Figure("Written as asked", said, f"dense {before}, by the judge"))
    return (
        *figures,
        Figure(
            "Multiply-accumulates",
            formats.percent(best.macs / dense.macs),
            f"{_one(best.macs)} of {_one(dense.macs)} per row",
        ),
        Figure(
            "Decoder parameters",
            formats.percent(best.nonembedding_params / dense.nonembedding_params),
            f"{_one(best.nonembedding_params)} of {_one(dense.nonembedding_params)}",
        ),
        Figure("On disk", _one(best.bytes, "B"), f"dense {_one(dense.bytes, 'B')}"),
    )


def _on_disk(result: ModelResult) -> int:
    """Return the size of what is deployed, or of the weights where no form was evaluated."""
    return result.bytes if result.deployed is None else result.deployed.bytes


def _time_figures(best: ModelResult, dense: ModelResult, runtime: str | None) -> tuple[Figure, ...]:
    if runtime is None or runtime not in best.timings or runtime not in dense.timings:
        return ()
    fast, slow = best.timings[runtime], dense.timings[runtime]
    unit = formats.unit_for_ms([slow.median_ms])
    what = "Median time" if best.text is None else "Time per token"
    return (
        Figure(
            f"{what}, {formats.runtime(runtime)}",
            unit.with_symbol(fast.median_ms),
            f"dense {unit.with_symbol(slow.median_ms)}, {formats.times(fast.speedup)}",
        ),
    )


def _dense_figures(dense: ModelResult, runtime: str | None) -> tuple[Figure, ...]:
    shown = formats.score if dense.text is None else formats.perplexity
    title = dense.measure.title
    figures = [
        Figure(
            f"{title[0].upper()}{title[1:]} of dense on test",
            shown(dense.quality.value),
            f"{shown(dense.quality.low)} to {shown(dense.quality.high)}",
        ),
        Figure("Parameters of dense", _one(dense.params), f"{_one(dense.nonembedding_params)} outside embeddings"),
    ]
    if runtime is not None and runtime in dense.timings:
        median_ms = dense.timings[runtime].median_ms
        time = formats.unit_for_ms([median_ms]).with_symbol(median_ms)
        figures.append(Figure("Median time of dense", time, formats.runtime(runtime)))
    return tuple(figures)


def _one(value: float, suffix: str = "") -> str:
    return formats.unit_for([value], suffix).with_symbol(value)
