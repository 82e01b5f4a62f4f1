"""What a challenger must show before it becomes the champion. Pure: what was measured in, conditions out."""

import numpy as np

from secateur.config.promote import PromoteSection
from secateur.gate.condition import Answers, Condition, GateRows, change
from secateur.gate.costs import latency, size
from secateur.gate.groups import classes, slices
from secateur.gate.harmless import Change, harmless
from secateur.statistics.discordant import Discordant, lowest_change
from secateur.statistics.f1 import macro_f1_of_rows, of_each, right_rows
from secateur.statistics.margins import margin_of
from secateur.statistics.paired import bootstrap_macro_f1

__all__ = ["Answers", "Condition", "GateRows", "judge"]


def judge(
    gate_rows: GateRows, *, challenger: Answers, champion: Answers | None, settings: PromoteSection
) -> tuple[Condition, ...]:
    """Return every condition, passed or not; without a champion those that need none."""
    conditions = [_quality_floor(gate_rows, challenger, settings)]
    if champion is not None:
        counts = of_each(gate_rows.labels, num_labels=len(gate_rows.names)).sum(axis=0).tolist()
        level, rows = settings.significance.level, len(gate_rows.labels)
        allowed = margin_of(settings.max_drop, counts, level=level, rows=rows)
        # A bootstrap of rows that all got the same answers knows no chance; the bound of accuracy does, however few
        # they are.
        conditions += [
            _quality_drop(gate_rows, challenger, champion, settings, allowed=allowed),
            _accuracy_drop(gate_rows, challenger, champion, settings, allowed=allowed),
        ]
    conditions += [
        latency(challenger, champion, settings.latency),
        size(challenger, champion, settings.size),
        classes(gate_rows, challenger, champion, settings),
        slices(gate_rows, challenger, champion, settings),
    ]
    if champion is not None and len(gate_rows.attacked_rows):
        conditions.append(_robustness(gate_rows, challenger, champion, settings))
    return tuple(conditions)


def _score(gate_rows: GateRows, answers: Answers) -> float:
    return macro_f1_of_rows(gate_rows.labels, answers.predicted, num_labels=len(gate_rows.names))


def _quality_floor(gate_rows: GateRows, challenger: Answers, settings: PromoteSection) -> Condition:
    score, least = _score(gate_rows, challenger), settings.min_macro_f1
    return Condition(
        "quality_floor",
        f"macro-F1 of {least:.4f} or more",
        f"{score:.4f}",
        score >= least,
        f"macro-F1 {score:.4f} on {len(gate_rows.labels)} test rows {_against(score >= least, 'the floor', least)}",
        {"macro_f1": score, "min_macro_f1": least},
    )


def _quality_drop(
    gate_rows: GateRows, challenger: Answers, champion: Answers, settings: PromoteSection, *, allowed: float
) -> Condition:
    wanted = settings.significance
    after, before = _score(gate_rows, challenger), _score(gate_rows, champion)
    differences = bootstrap_macro_f1(
        gate_rows.labels,
        champion.predicted,
        challenger.predicted,
        num_labels=len(gate_rows.names),
        samples=wanted.samples,
        seed=gate_rows.seed,
    )
    found = Change("macro-F1", before, after, lowest=float(np.quantile(differences, wanted.level)))
    return harmless("quality_drop", found, settings, allowed=allowed, rows=len(gate_rows.labels))


def _accuracy_drop(
    gate_rows: GateRows, challenger: Answers, champion: Answers, settings: PromoteSection, *, allowed: float
) -> Condition:
    counts = Discordant.of(gate_rows.labels, champion.predicted, challenger.predicted)
    after, before = (float(right_rows(gate_rows.labels, found.predicted).mean()) for found in (challenger, champion))
    lowest = lowest_change(counts, level=settings.significance.level)
    lost = f"{counts.lost} {'row' if counts.lost == 1 else 'rows'} lost"
    found = Change("accuracy", before, after, lowest=lowest, because=f"{lost}, {counts.won} won; ")
    return harmless("accuracy_drop", found, settings, allowed=allowed, rows=counts.rows)


def _robustness(gate_rows: GateRows, challenger: Answers, champion: Answers, settings: PromoteSection) -> Condition:
    labels, allowed = gate_rows.labels[gate_rows.attacked_rows], settings.robustness.max_drop
    scores = [
        {
            name: macro_f1_of_rows(labels, found, num_labels=len(gate_rows.names))
            for name, found in answers.attacked.items()
        }
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
