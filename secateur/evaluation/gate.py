"""What a challenger must show before it becomes the champion. Pure: what was measured in, conditions out."""

import numpy as np

from secateur.config.promote import PromoteSection
from secateur.evaluation.gate_costs import latency, size
from secateur.evaluation.gate_groups import classes, slices
from secateur.evaluation.judged import Answers, Condition, IntArray, Material, change
from secateur.evaluation.paired import Discordant, bootstrap_macro_f1, f1_by_label, mcnemar_drop

__all__ = ["Answers", "Condition", "Material", "judge"]


def judge(
    material: Material, *, challenger: Answers, champion: Answers | None, settings: PromoteSection
) -> tuple[Condition, ...]:
    """Return every condition, passed or not; without a champion those that need none."""
    conditions = [_quality_floor(material, challenger, settings)]
    if champion is not None:
        conditions += [
            _quality_drop(material, challenger, champion, settings),
            _mcnemar(material, challenger, champion, settings),
            _bootstrap(material, challenger, champion, settings),
        ]
    conditions += [
        latency(challenger, champion, settings.latency),
        size(challenger, champion, settings.size),
        classes(material, challenger, champion, settings),
        slices(material, challenger, champion, settings),
    ]
    if champion is not None and len(material.attacked_rows):
        conditions.append(_robustness(material, challenger, champion, settings))
    return tuple(conditions)


def macro_f1(labels: IntArray, predicted: IntArray, *, num_labels: int) -> float:
    """Return the mean F1 over the labels."""
    return float(f1_by_label(labels, predicted, num_labels=num_labels)[1].mean())


def _score(material: Material, answers: Answers) -> float:
    return macro_f1(material.labels, answers.predicted, num_labels=len(material.names))


def _quality_floor(material: Material, challenger: Answers, settings: PromoteSection) -> Condition:
    score, least = _score(material, challenger), settings.min_macro_f1
    return Condition(
        "quality_floor",
        f"macro-F1 of {least:.4f} or more",
        f"{score:.4f}",
        score >= least,
        f"macro-F1 {score:.4f} on {len(material.labels)} test rows {_against(score >= least, 'the floor', least)}",
        {"macro_f1": score, "min_macro_f1": least},
    )


def _quality_drop(material: Material, challenger: Answers, champion: Answers, settings: PromoteSection) -> Condition:
    after, before = _score(material, challenger), _score(material, champion)
    passed = before - after <= settings.max_drop
    return Condition(
        "quality_drop",
        f"macro-F1 at most {settings.max_drop:.4f} below the champion's",
        f"{after:.4f} against {before:.4f}",
        passed,
        f"macro-F1 {change(before, after)} on the same {len(material.labels)} test rows; "
        f"a loss of {settings.max_drop:.4f} is allowed",
        {"challenger_macro_f1": after, "champion_macro_f1": before, "max_drop": settings.max_drop},
    )


def _mcnemar(material: Material, challenger: Answers, champion: Answers, settings: PromoteSection) -> Condition:
    wanted = settings.significance
    counts = Discordant.of(material.labels, champion.predicted, challenger.predicted)
    p = mcnemar_drop(counts, max_drop=wanted.max_drop)
    passed = p >= wanted.level
    said = "is not significantly more" if passed else "is significantly more"
    return Condition(
        "mcnemar",
        f"no significant loss of accuracy above {wanted.max_drop:.4f} (level {wanted.level:g})",
        f"p = {p:.3g}",
        passed,
        f"{counts.lost} rows lost, {counts.won} won of {counts.rows}: a loss of {counts.drop:.4f} {said} than "
        f"{wanted.max_drop:.4f} (exact McNemar, p = {p:.3g})",
        {"lost": counts.lost, "won": counts.won, "rows": counts.rows, "p": p, "drop": counts.drop},
    )


def _bootstrap(material: Material, challenger: Answers, champion: Answers, settings: PromoteSection) -> Condition:
    wanted = settings.significance
    differences = bootstrap_macro_f1(
        material.labels,
        champion.predicted,
        challenger.predicted,
        num_labels=len(material.names),
        samples=wanted.samples,
        seed=material.seed,
    )
    low, high = (float(value) for value in np.quantile(differences, [wanted.level, 1.0 - wanted.level]))
    passed = high >= -wanted.max_drop
    return Condition(
        "bootstrap",
        f"no significant loss of macro-F1 above {wanted.max_drop:.4f} (level {wanted.level:g})",
        f"{low:+.4f} to {high:+.4f}",
        passed,
        f"challenger less champion is {low:+.4f} to {high:+.4f} in {wanted.samples} paired resamples; the upper end "
        f"{'is not' if passed else 'is'} below {-wanted.max_drop:.4f}",
        {"low": low, "high": high, "max_drop": wanted.max_drop},
    )


def _robustness(material: Material, challenger: Answers, champion: Answers, settings: PromoteSection) -> Condition:
    labels, allowed = material.labels[material.attacked_rows], settings.robustness.max_drop
    scores = [
        {name: macro_f1(labels, found, num_labels=len(material.names)) for name, found in answers.attacked.items()}
        for answers in (champion, challenger)
    ]
    before, after = (float(np.mean(list(values.values()))) for values in scores)
    passed = before - after <= allowed
    return Condition(
        "robustness",
        f"macro-F1 under attack at most {allowed:.4f} below the champion's",
        f"{after:.4f} against {before:.4f}",
        passed,
        f"macro-F1 under {', '.join(scores[1])} {change(before, after)} on {len(labels)} rows; "
        f"a loss of {allowed:.4f} is allowed",
        {"challenger": after, "champion": before} | {f"challenger.{name}": value for name, value in scores[1].items()},
    )


def _against(passed: bool, what: str, limit: float) -> str:
    return f"{'holds' if passed else 'is below'} {what} {limit:.4f}"
