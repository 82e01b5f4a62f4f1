"""Conditions of the gate on parts of the test rows: every label, every slice."""

from secateur.config.promote import PromoteSection
from secateur.gate.condition import Answers, Condition, GateRows, change
from secateur.statistics.f1 import f1_by_label, of_each, right_rows


def classes(gate_rows: GateRows, challenger: Answers, champion: Answers | None, settings: PromoteSection) -> Condition:
    """Judge recall and F1 of every label with enough rows."""
    wanted, num_labels = settings.classes, len(gate_rows.names)
    recall, f1 = f1_by_label(gate_rows.labels, challenger.predicted, num_labels=num_labels)
    judged = Groups("recall", wanted.min_recall)
    if champion is not None:
        old_recall, old_f1 = f1_by_label(gate_rows.labels, champion.predicted, num_labels=num_labels)
    support = of_each(gate_rows.labels, num_labels=num_labels).sum(axis=0)
    for index, name in enumerate(gate_rows.names):
        if int(support[index]) < wanted.min_rows:
            continue
        judged.floor(name, float(recall[index]))
        if champion is not None:
            judged.drop(name, "recall", float(old_recall[index]), float(recall[index]), allowed=wanted.max_recall_drop)
            judged.drop(name, "F1", float(old_f1[index]), float(f1[index]), allowed=wanted.max_f1_drop)
    drops = (
        ""
        if champion is None
        else f", at most {wanted.max_recall_drop:g} below the champion's (F1: {wanted.max_f1_drop:g})"
    )
    return judged.condition(
        "classes", f"recall of {wanted.min_recall:g} or more{drops}", f"label with {wanted.min_rows} rows or more"
    )


def slices(gate_rows: GateRows, challenger: Answers, champion: Answers | None, settings: PromoteSection) -> Condition:
    """Judge the accuracy on every slice with enough rows."""
    wanted = settings.slices
    right = right_rows(gate_rows.labels, challenger.predicted)
    judged = Groups("accuracy", wanted.min_accuracy)
    for name, mask in gate_rows.slices.items():
        if int(mask.sum()) < wanted.min_rows:
            continue
        judged.floor(name, float(right[mask].mean()))
        if champion is not None:
            before = float(right_rows(gate_rows.labels, champion.predicted)[mask].mean())
            judged.drop(name, "accuracy", before, float(right[mask].mean()), allowed=wanted.max_drop)
    drops = "" if champion is None else f", at most {wanted.max_drop:g} below the champion's"
    return judged.condition(
        "slices", f"accuracy of {wanted.min_accuracy:g} or more{drops}", f"slice with {wanted.min_rows} rows or more"
    )


class Groups:
    """Collects what was found for labels or slices, and becomes one condition."""

    def __init__(self, score: str, least: float) -> None:
        """Name the score, and its floor."""
        self._score, self._least = score, least
        self._found: dict[str, float] = {}
        self._values: dict[str, float] = {}
        self._failed: list[str] = []

    def floor(self, name: str, found: float) -> None:
        """Judge a score against the floor."""
        self._found[name] = found
        self._values[f"{name}.{self._score}"] = found
        if found < self._least:
            self._failed.append(f"{name}: {self._score} {found:.4f} is below the floor {self._least:g}")

    def drop(self, name: str, score: str, before: float, after: float, *, allowed: float) -> None:
        """Judge a score against the champion's."""
        self._values |= {f"{name}.{score}": after, f"{name}.{score}_drop": before - after}
        if before - after > allowed:
            self._failed.append(f"{name}: {score} {change(before, after)}, {allowed:g} is allowed")

    def condition(self, name: str, asked: str, judged: str) -> Condition:
        """Return the condition; all that failed is named."""
        if not self._found:
            return Condition(name, asked, "nothing to judge", True, f"no {judged}", {})
        worst = min(self._found, key=lambda key: self._found[key])
        found = f"{worst} has the lowest {self._score}, {self._found[worst]:.4f}"
        reason = "; ".join(self._failed) or f"{len(self._found)} hold: {found}"
        return Condition(name, f"{asked}, for every {judged}", found, not self._failed, reason, self._values)
