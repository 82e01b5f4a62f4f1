"""What a generator must show before it becomes the champion. Pure: what was measured in, conditions out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite

import numpy as np
import numpy.typing as npt

from secateur.config.promote import PromoteGenerationSection, PromoteSection
from secateur.gate.condition import Condition
from secateur.gate.costs import latency, size
from secateur.statistics.discordant import FloatArray
from secateur.statistics.paired import bootstrap_growth


@dataclass(frozen=True)
class GeneratorAnswers:
    """One generator in its deployed form.

    Attributes:
        losses: of every test text, its end included, in nats, (texts,).
        tokens: that were predicted, (texts,).
        unknown: share of the tokens of all texts that the tokenizer does not know.
        bytes: of all files of the folder that is deployed.
        latency_ms: of a token, (repeats,), call by call beside those of the other model.
        control_accuracy: share of its texts that the judge finds to be what was asked for; None without a judge.
    """

    losses: FloatArray
    tokens: npt.NDArray[np.int64]
    unknown: float
    bytes: int
    latency_ms: Sequence[float]
    control_accuracy: float | None = None


def judge_generator(
    characters: npt.NDArray[np.int64],
    *,
    challenger: GeneratorAnswers,
    champion: GeneratorAnswers | None,
    settings: PromoteSection,
    seed: int,
) -> tuple[Condition, ...]:
    """Return every condition, passed or not; without a champion those that need none.

    Args:
        characters: of every test text, and one for its end, (texts,).
        challenger: what was measured of it.
        champion: the same texts and the same run.
        settings: the limits.
        seed: of the bootstrap.
    """
    wanted = settings.generation
    conditions = [_ceiling(characters, challenger, wanted)]
    if champion is not None and np.isfinite([*challenger.losses, *champion.losses]).all():
        conditions.append(_growth(characters, challenger, champion, settings, seed=seed))
    conditions += [
        _unknown(challenger, wanted),
        latency(challenger, champion, settings.latency),
        size(challenger, champion, settings.size),
    ]
    if challenger.control_accuracy is not None:
        conditions.append(_control(challenger.control_accuracy, champion, wanted))
    return tuple(conditions)


def char_perplexity(losses: FloatArray, characters: npt.NDArray[np.int64]) -> float:
    """Return ``exp(loss of all texts / characters of all texts)``."""
    return exp(min(float(losses.sum() / characters.sum()), 700.0))


def _ceiling(
    characters: npt.NDArray[np.int64], challenger: GeneratorAnswers, wanted: PromoteGenerationSection
) -> Condition:
    texts, limit = len(characters), wanted.max_char_perplexity
    asked = "a finite perplexity" if limit is None else f"perplexity per character of {limit:g} or less"
    if not np.isfinite(challenger.losses).all():
        bad = int((~np.isfinite(challenger.losses)).sum())
        return Condition("quality_floor", asked, "none", False, f"the loss of {bad} of {texts} test texts is no number")
    found = char_perplexity(challenger.losses, characters)
    passed = isfinite(found) and (limit is None or found <= limit)
    said = "" if limit is None else f", {'within' if passed else 'above'} the limit {limit:g}"
    values = {"char_perplexity": found, "perplexity": char_perplexity(challenger.losses, challenger.tokens)}
    reason = f"perplexity per character {found:.4f} on {texts} test texts{said}"
    return Condition("quality_floor", asked, f"{found:.4f}", passed, reason, values)


def _growth(
    characters: npt.NDArray[np.int64],
    challenger: GeneratorAnswers,
    champion: GeneratorAnswers,
    settings: PromoteSection,
    *,
    seed: int,
) -> Condition:
    """Pass a challenger whose growth is shown to be less than what is allowed; see ``harmless``."""
    significance, allowed = settings.significance, settings.generation.max_growth
    after, before = (char_perplexity(answers.losses, characters) for answers in (challenger, champion))
    growth = after / before - 1.0
    drawn = bootstrap_growth(
        champion.losses, challenger.losses, characters=characters, samples=significance.samples, seed=seed
    )
    highest = float(np.quantile(drawn, 1.0 - significance.level))
    passed = highest < allowed
    more = "" if passed else "; more texts would tell" if growth < allowed else "; it grows by more than that"
    return Condition(
        "quality_drop",
        f"perplexity per character shown to be less than {allowed:.1%} above the champion's",
        f"{after:.4f} against {before:.4f}, at most {highest:+.2%}",
        passed,
        f"perplexity per character went from {before:.4f} to {after:.4f} ({growth:+.2%}) on the same "
        f"{len(characters)} test texts; at {100 * (1 - significance.level):g} % confidence it grows by {highest:+.2%} "
        f"at most, {allowed:.1%} is allowed{more}",
        {
            "challenger": after,
            "champion": before,
            "growth": growth,
            "highest": highest,
            "max_growth": allowed,
            "level": significance.level,
        },
    )


def _unknown(challenger: GeneratorAnswers, wanted: PromoteGenerationSection) -> Condition:
    passed = challenger.unknown <= wanted.max_unknown
    return Condition(
        "unknown",
        f"{wanted.max_unknown:.2%} of the tokens or less are unknown to the tokenizer",
        f"{challenger.unknown:.3%}",
        passed,
        # A tokenizer that knows nothing is predicted without any loss.
        f"{challenger.unknown:.3%} of the tokens of the test texts are the one for unknown characters; perplexity "
        f"{'can' if passed else 'cannot'} be compared",
        {"unknown": challenger.unknown, "max_unknown": wanted.max_unknown},
    )


def _control(after: float, champion: GeneratorAnswers | None, wanted: PromoteGenerationSection) -> Condition:
    before = None if champion is None else champion.control_accuracy
    limits, failed = [f"control accuracy of {wanted.min_control_accuracy:.4f} or more"], []
    values = {"control_accuracy": after}
    found = f"{after:.4f}"
    if after < wanted.min_control_accuracy:
        failed.append(f"{after:.4f} is below {wanted.min_control_accuracy:.4f}")
    if before is not None:
        limits.append(f"at most {wanted.max_control_drop:.4f} below the champion's")
        found, values["champion"] = f"{found} against {before:.4f}", before
        if before - after > wanted.max_control_drop:
            failed.append(f"{after:.4f} is more than {wanted.max_control_drop:.4f} below the champion's {before:.4f}")
    reason = "; ".join(failed) or f"the judge finds what was asked for in {found} of the texts"
    return Condition("control", " and ".join(limits), found, not failed, reason, values)
