"""What a run says when no round was accepted: why, and which parameters would change that."""

from collections.abc import Sequence

from secateur.report import formats
from secateur.report.results import Json, ModelResult


def refusal(results: Sequence[ModelResult]) -> str:
    """Return one sentence for a run without an accepted round; ``results`` begins with the dense model."""
    if len(results) == 1:
        return "There is no pruned model yet: no round has run."
    first = next((one for one in results[1:] if not one.accepted), results[1])
    which = "round that may be deployed" if any(one.accepted for one in results[1:]) else "round"
    said = f"No {which} was accepted, so the dense model stays: {first.title} was rolled back, since {reason_of(first)}"
    return f"{said}; to change that, {_either(_advice(first))}."


def reason_of(result: ModelResult) -> str:
    """Return why a round was rolled back, without its name."""
    reason = result.card.reason or "the card gives no reason"
    return reason.removeprefix(f"{result.name} was rolled back: ")


def _advice(result: ModelResult) -> list[str]:
    """Name the parameters that decided and what they are, and which way to turn them."""
    settings = result.card.parameters
    advice = [] if result.budget is None else [_gentler(result.budget.kind, result.budget.asked, result, settings)]
    floor = "prune.max_robust_drop" if "prune.max_robust_drop" in reason_of(result) else "prune.max_drop"
    if floor != "prune.max_drop" or result.budget is None or result.budget.kind != "max_drop":
        advice.append(f"allow a larger loss ({_now(floor, settings)})")
    own = f"prune.rounds.{result.name}.epochs"
    epochs = "prune.recovery.epochs" if settings.get(own) is None else own
    advice.append(f"train for longer ({_now(epochs, settings)})")
    if settings.get("prune.vocabulary_min_count"):
        advice.append(f"keep rare words ({_now('prune.vocabulary_min_count', settings)})")
    return advice


def _gentler(kind: str, asked: float, result: ModelResult, settings: Json) -> str:
    own = f"prune.rounds.{result.name}.{'max_drop' if kind == 'max_drop' else 'budget'}"
    name = f"prune.budget.{kind}" if settings.get(own) is None else own
    if kind == "max_drop":
        return f"allow a larger loss ({_now(name, settings)})"
    shown = formats.percent(asked, 1)
    if kind == "sparsity":
        return f"remove less than {shown} ({name})"
    return f"leave more than {shown} of {formats.of_dense(kind)} ({name})"


def _now(name: str, settings: Json) -> str:
    value = settings.get(name)
    shown = f"{value:g}" if isinstance(value, int | float) else value  # or a word: auto
    return name if value is None else f"{name}, now {shown}"


def _either(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])}, or {parts[-1]}"
