"""Which round the page is about, and the one sentence that says so."""

from collections.abc import Sequence
from dataclasses import dataclass

from secateur.report import formats
from secateur.report.refusal import refusal
from secateur.report.results import Json, ModelResult, runtimes

_PREFERRED = ("onnx", "onnx-int8", "torch")
_TORCH = "torch"


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


def reference_runtime(results: Sequence[ModelResult], details: Json) -> str | None:
    """Return the runtime the headline speaks of: the deployed one when it was timed."""
    timed = runtimes(results)
    wanted = (details.get("deployed"), *_PREFERRED)
    return next((name for name in wanted if name in timed), timed[0] if timed else None)


def headline(results: Sequence[ModelResult], details: Json) -> Headline:
    """Speak of the last accepted round, the one that also becomes the registry's challenger, as it is deployed.

    Acceptance rests on validation scores. Choosing by the scores on this page would be choosing on the test set.

    Args:
        results: the dense model first.
        details: content of ``reports/details.json``; what it does not say is left out.
    """
    dense = results[0]
    runtime = reference_runtime(results, details)
    accepted = [result for result in results[1:] if result.accepted]
    if not accepted:
        return Headline(best=None, sentence=refusal(results), rule="", figures=_dense_figures(dense, runtime))
    best, level = accepted[-1], details.get("confidence_level")
    form = f" {in_form(details['deployed'])}" if details.get("deployed") else ""
    sentence = f"{best.title}{form} {_speed(best, dense, runtime)} and {_quality(best, dense, level)}."
    chosen = f"{best.title} is the last accepted round. Validation scores decide on that, so the test set had no say."
    rule = " ".join((*_paired(best, level, details.get("test_rows", 0)), chosen))
    return Headline(best=best, sentence=sentence, rule=rule, figures=_figures(best, dense, runtime))


def in_form(runtime: str) -> str:
    """Say in which form a model runs: ``in PyTorch``, ``in ONNX int8``."""
    return f"in {formats.runtime(runtime)}"


def _speed(best: ModelResult, dense: ModelResult, runtime: str | None) -> str:
    if runtime is None or runtime not in best.timings:
        return f"needs {formats.percent(best.macs / dense.macs)} of the dense model's multiply-accumulates"
    same = _pace(best.timings[runtime].speedup)
    if runtime == _TORCH or _TORCH not in dense.timings:
        return f"is {same} dense {in_form(runtime)}"
    ratio = dense.timings[_TORCH].median_ms / best.timings[runtime].median_ms
    return f"is {_pace(ratio)} dense {in_form(_TORCH)} ({same} dense {in_form(runtime)})"


def _pace(ratio: float) -> str:
    if ratio >= 1.05:
        return f"{formats.times(ratio)} as fast as"
    return f"{formats.times(1 / ratio)} slower than" if ratio <= 0.95 else "no faster than"


def _quality(best: ModelResult, dense: ModelResult, level: float | None) -> str:
    if best.text is not None:
        return _perplexity(best, dense) + _chance(best, level)
    change = best.quality.value - dense.quality.value if best.change is None else best.change.value
    size = f"{abs(100 * change):.1f}"
    if float(size) == 0:
        rows = "" if best.change is None else f" ({best.change.lost} test rows lost, {best.change.won} won)"
        return f"keeps its macro-F1{rows}"
    said = f"{'loses' if change < 0 else 'gains'} {size} {'point' if size == '1.0' else 'points'} of macro-F1"
    return said + _chance(best, level)


def _chance(best: ModelResult, level: float | None) -> str:
    """Say whether a change is more than chance; nothing where nobody compared row by row."""
    if best.change is None or level is None:
        return ""
    rows = "" if best.change.lost is None else f" ({best.change.lost} test rows lost, {best.change.won} won)"
    return (
        f"{', more than chance explains' if best.change.is_significant(level=level) else ', which may be chance'}{rows}"
    )


def _paired(best: ModelResult, level: float | None, test_rows: int) -> tuple[str, ...]:
    """Give the figures behind ``_chance``."""
    change = best.change
    if change is None or level is None:
        return ()
    what = f"In pairs on the same {formats.count(test_rows)} test"
    interval = f"{formats.percent(level)} interval of the change"
    if best.text is not None:
        ends = f"{formats.signed_percent(change.low)} to {formats.signed_percent(change.high)}"
        return (f"{what} texts, the {interval} in perplexity is {ends}.",)
    ends = f"{formats.points(change.low)} to {formats.points(change.high)} points"
    p_value = "" if change.p_value is None else f"; exact McNemar test, p = {change.p_value:.2g}"
    return (f"{what} rows, the {interval} against dense in PyTorch is {ends}{p_value}.",)


def _perplexity(best: ModelResult, dense: ModelResult) -> str:
    """Say what became of the perplexity, which is better when it is lower."""
    growth = best.quality.value / dense.quality.value - 1.0
    if abs(growth) < 0.0005:
        return "keeps its perplexity"
    return f"has {formats.percent(abs(growth), 1)} {'more' if growth > 0 else 'less'} perplexity"


def _figures(best: ModelResult, dense: ModelResult, runtime: str | None) -> tuple[Figure, ...]:
    if best.text is not None:
        return (*_time_figures(best, dense, runtime), *_text_figures(best, dense))
    score = best.quality if best.deployed is None else best.deployed.macro_f1
    return (
        *_time_figures(best, dense, runtime),
        Figure(
            "Macro-F1 on test",
            formats.score(score.value),
            f"dense {formats.score(dense.quality.value)}, {formats.points(score.value - dense.quality.value)} points",
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
