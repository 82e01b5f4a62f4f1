"""One card per round: what was asked, what was done, what came out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from secateur.report import formats, tables
from secateur.report.results import HistoryRow, ModelResult

Fact = tuple[str, str, str]
"""A name, its value, and what the value is compared with (perhaps empty)."""

_METHOD = ("criterion", "structures", "repair", "regularizer")


@dataclass(frozen=True)
class RoundCard:
    """One round as a reader meets it.

    Attributes:
        result: the model it left.
        story: one sentence about what it was asked and what became of it.
        facts: what it is worth and what is left of it.
    """

    result: ModelResult
    story: str
    facts: tuple[Fact, ...]


def round_cards(
    results: Sequence[ModelResult], histories: Mapping[str, Sequence[HistoryRow]], *, runtime: str | None
) -> tuple[RoundCard, ...]:
    """Return the cards of all rounds in order; ``runtime`` is the one whose times they show."""
    dense = results[0]
    return tuple(
        RoundCard(
            result=result,
            story=_story(result, histories.get(result.name, ())),
            facts=_facts(result, dense, runtime) if result.accepted else (),
        )
        for result in results[1:]
    )


def _story(result: ModelResult, history: Sequence[HistoryRow]) -> str:
    parts = []
    if result.budget is not None:
        asked = f"Asked for {formats.percent(result.budget.asked, 1)} of {_noun(result.budget.kind)}"
        if result.budget.achieved is None:
            parts.append(f"{asked}.")
        else:
            parts.append(f"{asked}, got {formats.percent(result.budget.achieved, 1)}.")
    if not result.accepted:
        parts.append(f"{result.verdict.capitalize()}: {tables.verdict_note(result)}.")
    elif recovery := _recovery(result, history):
        parts.append(recovery)
    return " ".join(parts)


def _noun(kind: str) -> str:
    dense = {"latency": "dense time", "macs": "dense multiply-accumulates", "params": "dense parameters"}
    return dense.get(kind, kind)


def _recovery(result: ModelResult, history: Sequence[HistoryRow]) -> str:
    """Say from where to where training took the validation score."""
    name, said, shown = _measure(result)
    column = f"validation_{name}"
    scores = [score for row in history if (score := row.get(column)) is not None]
    if not scores:
        return ""
    epochs = max(row.get("epoch") or 0.0 for row in history)
    after_cut = f"Validation {said} {shown(scores[0])} right after the cut"
    if epochs == 0:
        return f"{after_cut}; no training followed."
    kept = result.card.get("metrics", {}).get(column, scores[-1])
    return f"{after_cut}, {shown(kept)} after {epochs:.2g} {'epoch' if epochs == 1 else 'epochs'} of recovery."


def _measure(result: ModelResult) -> tuple[str, str, Callable[[float], str]]:
    """Return the name of the score in files, its name for people, and how it is written."""
    if result.text is None:
        return "macro_f1", "macro-F1", formats.score
    return "perplexity", "perplexity", formats.perplexity


def _quality(result: ModelResult, dense: ModelResult) -> Fact:
    after, before = result.quality.value, dense.quality.value
    if result.text is None:
        return "Macro-F1 on test", formats.score(after), f"{formats.points(after - before)} points"
    return "Perplexity on test", formats.perplexity(after), f"{formats.perplexity(before)} dense"


def _facts(result: ModelResult, dense: ModelResult, runtime: str | None) -> tuple[Fact, ...]:
    facts = [_quality(result, dense)]
    if runtime is not None and runtime in result.timings:
        timing = result.timings[runtime]
        shown = formats.unit_for_ms([timing.median_ms]).with_symbol(timing.median_ms)
        facts.append((f"Time, {formats.runtime(runtime)}", shown, f"{formats.times(timing.speedup)} dense"))
    part = "encoder" if result.text is None else "decoder"
    facts.append((f"Sparsity of {part}", f"{result.sparsity:.2f}", f"{formats.count(result.nonembedding_params)} left"))
    changes = result.details.get("changes")
    if changes:
        facts.append(("Lost against dense", formats.count(changes["lost"]), f"{formats.count(changes['gained'])} won"))
    settings = result.card.get("parameters", {})
    for key in _METHOD:
        value = settings.get(f"prune.{key}")
        if value and value != "none":
            facts.append((key.capitalize(), ", ".join(value) if isinstance(value, list | tuple) else str(value), ""))
    return tuple(facts)
