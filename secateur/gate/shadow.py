"""Condition of the gate: how often a challenger said something else than the champion, on what people asked."""

from dataclasses import dataclass

from secateur.config.promote import PromoteShadowSection
from secateur.gate.condition import UNKNOWN, Condition
from secateur.statistics.shares import wilson


@dataclass(frozen=True)
class Beside:
    """What a server counted of both: texts, and those that they answered differently."""

    texts: int
    disagreed: int


def shadow(beside: Beside | None, wanted: PromoteShadowSection, *, level: float) -> Condition | None:
    """Judge the share that the traffic does not exclude: Wilson's upper bound, which chance passes in ``level`` cases.

    Args:
        beside: of these two versions; None where no server has asked both.
        wanted: limits.
        level: one-sided.

    Returns:
        None where nothing is asked and nothing was found.
    """
    limit = wanted.max_disagreement
    if beside is None and limit is None:
        return None
    asked = "no limit"
    if limit is not None:
        asked = f"at most {limit:.4f} of {wanted.min_texts} texts or more answered differently from the champion"
    texts = 0 if beside is None else beside.texts
    if beside is None or not texts or (limit is not None and texts < wanted.min_texts):
        reason = (
            f"{texts} texts were asked of both; `secateur serve models:/NAME@champion --live --shadow "
            "models:/NAME@challenger` asks more"
        )
        return Condition("shadow", asked, UNKNOWN, limit is None, reason, {"texts": texts})
    share, high = beside.disagreed / texts, wilson(beside.disagreed, texts, level=1 - 2 * level)[1]
    passed = limit is None or high <= limit
    found = f"{share:.4f} (at most {high:.4f}) of {texts} texts"
    verb = "holds" if passed else "is above"
    judged = "there is no limit" if limit is None else f"the bound {verb} the limit {limit:.4f}"
    reason = (
        f"{beside.disagreed} of {texts} texts of the traffic were answered differently, {high:.4f} at most; {judged}"
    )
    values = {"texts": texts, "disagreed": beside.disagreed, "share": share, "high": high}
    return Condition("shadow", asked, found, passed, reason, values)
