"""Which round the page is about, and the one sentence that says so."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from secateur.models.chosen_round import chosen_round, cost_left, is_set_aside
from secateur.report import formats
from secateur.report.presentation import Score
from secateur.report.refusal import refusal
from secateur.report.results import TORCH, Json, ModelResult, form_of_scores, runtimes

_PREFERRED = ("onnx", "onnx-int8", "torch")


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
    """Speak of the chosen round, the one that also becomes the registry's challenger, as it is deployed.

    Acceptance rests on validation scores. Choosing by the scores on this page would be choosing on the test set.

    Args:
        results: the dense model first.
        details: content of ``reports/details.json``; what it does not say is left out.
    """
    dense = results[0]
    runtime = reference_runtime(results, details)
    accepted = {result.name: result for result in results if result.accepted}
    best = accepted[chosen_round({name: result.card for name, result in accepted.items()})]
    if best.is_dense:
        return Headline(best=None, sentence=refusal(results), rule="", figures=_dense_figures(dense, runtime))
    level = details.get("confidence_level")
    form = f" {in_form(details['deployed'])}" if details.get("deployed") else ""
    sentence = f"{best.title}{form} {_speed(best, dense, runtime)} and {_quality(best, dense, level)}."
    rule = " ".join((*_paired(best, level, details.get("test_rows", 0)), *_choice(best, list(accepted.values()))))
    deployed = str(details["deployed"]) if form_of_scores(results, details) else None
    return Headline(best=best, sentence=sentence, rule=rule, figures=_figures(best, dense, runtime, deployed))


def _choice(best: ModelResult, accepted: Sequence[ModelResult]) -> Iterator[str]:
    """Say why this round, and what every later one has left that may lose more."""
    aside = [one for one in accepted if is_set_aside(one.name, one.card)]
    left = [one for one in accepted if one not in aside]
    yield f"{best.title} is the last accepted round{'' if best is left[-1] else ' that is worth what it may lose'}."
    for one in aside:
        yield f"{one.title} is shown, and never deployed (prune.rounds.{one.name}.deploy=false)."
    whole = formats.of_dense(best.card.price or "")
    for passed in left[left.index(best) + 1 :]:
        known, cost = (formats.percent(cost_left(one.card) or 0.0, 1) for one in (best, passed))
        told = f"{passed.title} may lose more, and by the prices of the budget keeps {cost} of {whole}"
        yield f"{told}, {best.title} {known}."
    yield "Validation scores decide on that, so the test set had no say."


def in_form(runtime: str) -> str:
    """Say in which form a model runs: ``in PyTorch``, ``in ONNX int8``."""
    return f"in {formats.runtime(runtime)}"


def _speed(best: ModelResult, dense: ModelResult, runtime: str | None) -> str:
    if runtime is None or runtime not in best.timings:
        return f"needs {formats.percent(best.macs / dense.macs)} of the dense model's multiply-accumulates"
    same = _pace(best.timings[runtime].speedup)
    if runtime == TORCH or TORCH not in dense.timings:
        return f"is {same} dense {in_form(runtime)}"
    ratio = dense.timings[TORCH].median_ms / best.timings[runtime].median_ms
    return f"is {_pace(ratio)} dense {in_form(TORCH)} ({same} dense {in_form(runtime)})"


def _pace(ratio: float) -> str:
    if ratio >= 1.05:
        return f"{formats.times(ratio)} as fast as"
    return f"{formats.times(1 / ratio)} slower than" if ratio <= 0.95 else "no faster than"


def _quality(best: ModelResult, dense: ModelResult, level: float | None) -> str:
    change = None if best.change is None else best.change.value
    scale = best.kind.presentation().scale
    said, moved = scale.in_words(best.kind.measure.title, best.quality.value, dense.quality.value, change=change)
    return said + (_chance(best, level) if moved else _rows(best))


def _chance(best: ModelResult, level: float | None) -> str:
    """Say whether a change is more than chance; nothing where nobody compared row by row."""
    if best.change is None or level is None:
        return ""
    chance = "more than chance explains" if best.change.is_significant(level=level) else "which may be chance"
    return f", {chance}{_rows(best)}"


def _rows(best: ModelResult) -> str:
    """Say how many rows only one of the two gets right, where a row is right or wrong."""
    if best.change is None or best.change.lost is None:
        return ""
    lost = f"{best.change.lost} test {'row' if best.change.lost == 1 else 'rows'} lost"
    return f" ({lost}, {best.change.won} won)"


def _paired(best: ModelResult, level: float | None, test_rows: int) -> tuple[str, ...]:
    """Give the figures behind ``_chance``."""
    change = best.change
    if change is None or level is None:
        return ()
    shown = best.kind.presentation()
    what = f"In pairs on the same {formats.count(test_rows)} test {shown.words.rows}"
    ends = shown.scale.between(best.kind.measure.title, change.low, change.high)
    p_value = (
        ""
        if change.p_value is None
        else f"; of the rows lost and won the exact McNemar test has p = {change.p_value:.2g}"
    )
    return (f"{what}, the {formats.percent(level)} interval of the change {ends}{p_value}.",)


def _figures(best: ModelResult, dense: ModelResult, runtime: str | None, deployed: str | None) -> tuple[Figure, ...]:
    shown = best.kind.presentation()
    return (
        *_time_figures(best, dense, runtime),
        *_throughput_figures(best, dense),
        _quality_figure(best, dense, deployed),
        *(figure for score in shown.scores if (figure := _score_figure(score, best, dense)) is not None),
        Figure(
            "Multiply-accumulates",
            formats.percent(best.macs / dense.macs),
            f"{_one(best.macs)} of {_one(dense.macs)} per row",
        ),
        Figure(
            f"{shown.words.body.capitalize()} parameters",
            formats.percent(best.nonembedding_params / dense.nonembedding_params),
            f"{_one(best.nonembedding_params)} of {_one(dense.nonembedding_params)}",
        ),
        Figure("On disk", _one(_on_disk(best), "B"), f"dense {_one(_on_disk(dense), 'B')}"),
    )


def _throughput_figures(best: ModelResult, dense: ModelResult) -> list[Figure]:
    figures = []
    for batch in sorted(set(best.tokens_per_second) & set(dense.tokens_per_second)):
        fast, slow = best.tokens_per_second[batch], dense.tokens_per_second[batch]
        name = f"Tokens per second, {batch} {'text' if batch == 1 else 'texts'} at once"
        figures.append(Figure(name, formats.count(fast), f"dense {formats.count(slow)}, {formats.times(fast / slow)}"))
    return figures


def _quality_figure(best: ModelResult, dense: ModelResult, deployed: str | None) -> Figure:
    scale, before = best.kind.presentation().scale, dense.quality.value
    after = (best.quality if best.deployed is None else best.deployed.quality).value
    here, there = ("", "") if deployed is None else (f", {formats.runtime(deployed)}", f" {in_form(TORCH)}")
    compared = f"dense{there} {scale.write(before)}, {scale.against(after, before)}"
    return Figure(f"{formats.sentence(best.kind.measure.title)} on test{here}", scale.write(after), compared)


def _score_figure(score: Score, best: ModelResult, dense: ModelResult) -> Figure | None:
    after, before = best.score(score.name), dense.score(score.name)
    if score.figure is None or after is None or before is None:
        return None
    name, by = score.figure
    return Figure(name, score.write(after.value), f"dense {score.write(before.value)}, {by}")


def _on_disk(result: ModelResult) -> int:
    """Return the size of what is deployed, or of the weights where no form was evaluated."""
    return result.bytes if result.deployed is None else result.deployed.bytes


def _time_figures(best: ModelResult, dense: ModelResult, runtime: str | None) -> tuple[Figure, ...]:
    if runtime is None or runtime not in best.timings or runtime not in dense.timings:
        return ()
    fast, slow = best.timings[runtime], dense.timings[runtime]
    unit = formats.unit_for_ms([slow.median_ms])
    what = best.kind.presentation().words.figure
    return (
        Figure(
            f"{what}, {formats.runtime(runtime)}",
            unit.with_symbol(fast.median_ms),
            f"dense {unit.with_symbol(slow.median_ms)}, {formats.times(fast.speedup)}",
        ),
    )


def _dense_figures(dense: ModelResult, runtime: str | None) -> tuple[Figure, ...]:
    scale = dense.kind.presentation().scale
    figures = [
        Figure(
            f"{formats.sentence(dense.kind.measure.title)} of dense on test",
            scale.write(dense.quality.value),
            f"{scale.write(dense.quality.low)} to {scale.write(dense.quality.high)}",
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
