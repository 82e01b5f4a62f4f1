"""One card per round: what was asked, what was done, what came out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from secateur.report import formats
from secateur.report.refusal import reason_of
from secateur.report.results import TORCH, HistoryRow, ModelResult, SkippedRound, round_number

Fact = tuple[str, str, str]
"""A name, its value, and what the value is compared with (perhaps empty)."""

_METHOD = ("criterion", "structures", "repair", "regularizer")


@dataclass(frozen=True)
class Try:
    """One of the cuts that a round tried: what was to be left, what came of it on validation, and what became of it."""

    left: str
    score: str
    verdict: str


@dataclass(frozen=True)
class RoundCard:
    """One round as a reader meets it.

    Attributes:
        title: its name.
        verdict: what became of it.
        accepted: whether it left a model.
        story: one sentence about what it was asked and what became of it.
        facts: what it tried, what that is worth and what is left of it.
        tries: every cut that was tried; empty when there was only one.
    """

    title: str
    verdict: str
    accepted: bool
    story: str
    facts: tuple[Fact, ...]
    tries: tuple[Try, ...]


def round_cards(
    results: Sequence[ModelResult],
    skipped: Sequence[SkippedRound],
    histories: Mapping[str, Sequence[HistoryRow]],
    *,
    runtime: str | None,
    deployed: str | None,
) -> tuple[RoundCard, ...]:
    """Return the cards of all rounds in order.

    Args:
        results: the dense model first.
        skipped: rounds that never ran.
        histories: of the training.
        runtime: whose times they show.
        deployed: the form that has scores of its own, where there is one.
    """
    dense = results[0]
    cards = [
        RoundCard(
            title=result.title,
            verdict=result.verdict,
            accepted=result.accepted,
            story=_story(result, histories.get(result.name, ())),
            facts=_facts(result, dense, runtime, deployed),
            tries=_tries(result),
        )
        for result in results[1:]
    ]
    cards += [
        RoundCard(title=entry.name, verdict="not run", accepted=False, story=why_skipped(entry), facts=(), tries=())
        for entry in skipped
    ]
    return tuple(sorted(cards, key=lambda card: round_number(card.title)))


def why_skipped(entry: SkippedRound) -> str:
    """Say why a round never ran: the one before it was rolled back, and why that was stands there."""
    reason = (entry.card.reason or "the card gives no reason").removeprefix("not run: ")
    return f"Not run, since {reason.partition(':')[0]}; nothing was tried."


def _story(result: ModelResult, history: Sequence[HistoryRow]) -> str:
    parts = [_asked(result)]
    if recovery := _recovery(result, history):
        parts.append(recovery)
    if not result.accepted:
        parts.append(f"Rolled back: {reason_of(result)}. The figures are those of what was tried.")
    return " ".join(part for part in parts if part)


def _is_student(result: ModelResult) -> bool:
    """Tell whether a round made a model without layers; of one that was rolled back, whether it tried to."""
    widths = result.card.came_to.widths
    return widths is not None and not widths.get("heads")


def _asked(result: ModelResult) -> str:
    budget = result.budget
    if budget is None:
        return ""
    if budget.kind == "max_drop":
        unit = result.kind.presentation().scale.unit_of_loss(result.kind.measure.title)
        asked = f"Asked to lose at most {100 * budget.asked:g} {unit} on validation"
        likely = f"validation_likely_{result.kind.measure.name}" in result.card.came_to.metrics
        lost = "probably lost" if likely else "lost"
        return f"{asked}." if budget.achieved is None else f"{asked}, {lost} {100 * budget.achieved:.1f}."
    asked = f"Asked for {formats.percent(budget.asked, 1)} of {formats.of_dense(budget.kind)}"
    return f"{asked}." if budget.achieved is None else f"{asked}, got {formats.percent(budget.achieved, 1)}."


def _tries(result: ModelResult) -> tuple[Try, ...]:
    tries = result.card.tries
    if len(tries) < 2:
        return ()
    unit = {"latency": "time", "macs": "MACs", "params": "parameters"}.get(result.card.price or "", "")
    name, scale = result.kind.measure.name, result.kind.presentation().scale
    return tuple(
        Try(
            left=f"{formats.percent(entry['target'], 1)} {unit}".rstrip(),
            score=scale.write(entry["metrics"][f"validation_{name}"]),
            verdict="held" if entry["accepted"] else "fell through",
        )
        for entry in tries
    )


def _recovery(result: ModelResult, history: Sequence[HistoryRow]) -> str:
    """Say from where to where training took the validation score."""
    measure, scale = result.kind.measure, result.kind.presentation().scale
    column = f"validation_{measure.name}"
    scores = [score for row in history if (score := row.get(column)) is not None]
    if not scores:
        return ""
    epochs = max(row.get("epoch") or 0.0 for row in history)
    begins = "before its training" if _is_student(result) else "right after the cut"
    after_cut = f"Validation {measure.title} {scale.write(scores[0])} {begins}"
    if epochs == 0:
        return f"{after_cut}; no training followed."
    kept = result.card.came_to.metrics.get(column, scores[-1])
    passes = f"{epochs:.2g}" if epochs < 10 else formats.count(epochs)
    taught = "of the dense model's answers" if _is_student(result) else "of recovery"
    return f"{after_cut}, {scale.write(kept)} after {passes} {'epoch' if epochs == 1 else 'epochs'} {taught}."


def _quality(result: ModelResult, dense: ModelResult, deployed: str | None) -> Iterator[Fact]:
    """Tell the deciding score, in every form that has one of its own; dense is the one in PyTorch."""
    scale, title = result.kind.presentation().scale, formats.sentence(result.kind.measure.title)
    forms = [("test" if deployed is None else f"test, {formats.runtime(TORCH)}", result.quality)]
    if deployed is not None and result.deployed is not None:
        forms.append((f"test, {formats.runtime(deployed)}", result.deployed.quality))
    for where, quality in forms:
        yield f"{title} on {where}", scale.write(quality.value), scale.beside(quality.value, dense.quality.value)


def _facts(result: ModelResult, dense: ModelResult, runtime: str | None, deployed: str | None) -> tuple[Fact, ...]:
    facts = [*_quality(result, dense, deployed)]
    if runtime is not None and runtime in result.timings:
        timing = result.timings[runtime]
        shown = formats.unit_for_ms([timing.median_ms]).with_symbol(timing.median_ms)
        facts.append((f"Time, {formats.runtime(runtime)}", shown, f"{formats.times(timing.speedup)} dense"))
    body = result.kind.presentation().words.body
    facts.append((f"Sparsity of {body}", f"{result.sparsity:.2f}", f"{formats.count(result.nonembedding_params)} left"))
    changes = result.details.get("changes")
    if changes:
        where = "" if deployed is None else f", {formats.runtime(TORCH)}"
        facts.append(
            (f"Lost against dense{where}", formats.count(changes["lost"]), f"{formats.count(changes['gained'])} won")
        )
    settings = result.card.parameters
    if _is_student(result):
        facts.append(("Made as", "static student", "no layers"))
        return tuple(facts)
    for key in _METHOD:
        value = settings.get(f"prune.{key}")
        if value and value != "none":
            facts.append((key.capitalize(), ", ".join(value) if isinstance(value, list | tuple) else str(value), ""))
    return tuple(facts)
