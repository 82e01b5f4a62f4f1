"""A condition that asks for proof: the challenger is no worse than the champion by more than what is allowed."""

from dataclasses import dataclass
from math import ceil

from secateur.config.promote import PromoteSection
from secateur.gate.condition import Condition, change
from secateur.statistics.margins import USUAL


@dataclass(frozen=True)
class Change:
    """A score of both models on the same rows.

    Attributes:
        score: its name.
        before: of the champion.
        after: of the challenger.
        lowest: one-sided lower bound of after less before.
        because: what stands behind it, for people.
    """

    score: str
    before: float
    after: float
    lowest: float
    because: str = ""


def harmless(name: str, found: Change, settings: PromoteSection, *, allowed: float, rows: int) -> Condition:
    """Pass a challenger whose lower bound is above ``-allowed``: what is not shown to be harmless is held.

    A model that is worse by ``allowed`` or more passes in ``significance.level`` of the cases, at most.

    Args:
        name: of the condition.
        found: the score and its bound.
        settings: the gate.
        allowed: loss, above or equal to 0.
        rows: on which both were scored.
    """
    level = settings.significance.level
    passed = found.lowest > -allowed
    said = f"{found.score} {change(found.before, found.after)} on the same {rows} test rows; {found.because}"
    certain = f"{100 * (1 - level):g} % confidence"
    said += f"at {certain} it is at most {max(0.0, -found.lowest):.4f} lower, {allowed:.4f} is allowed"
    if not passed:
        said += f"; {_what_it_takes(found, allowed=allowed, rows=rows)}"
    chosen = " (auto: all that these rows can show)" if settings.max_drop == "auto" and allowed > USUAL else ""
    values = {f"challenger_{_key(found.score)}": found.after, f"champion_{_key(found.score)}": found.before}
    return Condition(
        name,
        f"{found.score} shown to be less than {allowed:.4f} below the champion's{chosen}",
        f"{found.after:.4f} against {found.before:.4f}, at least {found.lowest:+.4f}",
        passed,
        said,
        values | {"lowest": found.lowest, "max_drop": allowed, "level": level},
    )


def _what_it_takes(found: Change, *, allowed: float, rows: int) -> str:
    """Say with how many rows the same difference would have passed: the bound nears it by one over their root."""
    difference = found.after - found.before
    if difference <= -allowed:
        return "more is lost than that"
    needed = ceil(rows * ((difference - found.lowest) / (difference + allowed)) ** 2)
    return f"that is not shown; some {max(needed, rows + 1)} rows with this difference would show it"


def _key(score: str) -> str:
    return score.lower().replace("-", "_").replace("²", "2")
