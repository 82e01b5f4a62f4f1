"""Are these rows fit to train on? Conditions that the data alone decides, before anything is trained."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp

from secateur.config.retrain import QualitySection
from secateur.data.profile import Profile


@dataclass(frozen=True)
class DataCondition:
    """One condition: what was asked, what was found, and whether that is enough."""

    name: str
    asked: str
    found: str
    passed: bool

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"name": self.name, "asked": self.asked, "found": self.found, "passed": self.passed}

    @property
    def reason(self) -> str:
        """One line that says what was asked and found."""
        return f"{self.name}: asked {self.asked}, found {self.found}"


def check_quality(current: Profile, reference: Profile | None, settings: QualitySection) -> tuple[DataCondition, ...]:
    """Judge a source.

    Args:
        current: the source as it is now.
        reference: the rows that the champion was trained from; None leaves out what compares with them.
        settings: the limits.
    """
    conditions = [
        DataCondition(
            "rows",
            f"retrain.quality.min_rows={settings.min_rows} or more",
            str(current.usable),
            current.usable >= settings.min_rows,
        ),
        _share("rows without text or label", "max_empty", settings.max_empty, current.empty, current.rows),
        _share("duplicate rows", "max_duplicates", settings.max_duplicates, current.duplicates, current.usable),
    ]
    if reference is not None and reference.usable and current.usable:
        conditions += [
            _lost_rows(current, reference, settings.max_lost_rows),
        ]
        if current.numbers is not None and reference.numbers is not None:
            conditions.append(_number_shift(current.numbers, reference.numbers, settings.max_label_shift))
        elif current.labels or reference.labels:
            conditions += [
                _label_set(current, reference, accept=settings.changed_labels == "accept"),
                _label_shift(current, reference, settings.max_label_shift),
            ]
    return tuple(conditions)


def _share(name: str, key: str, limit: float, part: int, whole: int) -> DataCondition:
    found = part / whole if whole else 0.0
    return DataCondition(name, f"retrain.quality.{key}={limit:g} or less", f"{found:.3f} ({part})", found <= limit)


def _lost_rows(current: Profile, reference: Profile, limit: float) -> DataCondition:
    lost = max(0.0, 1 - current.usable / reference.usable)
    return DataCondition(
        "rows lost since the champion",
        f"retrain.quality.max_lost_rows={limit:g} or less",
        f"{lost:.3f} ({reference.usable} -> {current.usable})",
        lost <= limit,
    )


def _label_set(current: Profile, reference: Profile, *, accept: bool) -> DataCondition:
    new = sorted(set(current.labels) - set(reference.labels))
    gone = sorted(set(reference.labels) - set(current.labels))
    said = [f"{word} {', '.join(names[:10])}" for word, names in (("new:", new), ("gone:", gone)) if names]
    return DataCondition(
        "labels",
        "any (retrain.quality.changed_labels=accept)" if accept else "those of the champion's data",
        "; ".join(said) or "the same",
        accept or not said,
    )


def _label_shift(current: Profile, reference: Profile, limit: float) -> DataCondition:
    now, before = current.shares(), reference.shares()
    shifts = {name: round(abs(now.get(name, 0.0) - before.get(name, 0.0)), 9) for name in {*now, *before}}
    worst = min(shifts, key=lambda name: (-shifts[name], name))
    return DataCondition(
        "change of a label's share",
        f"retrain.quality.max_label_shift={limit:g} or less",
        f"{shifts[worst]:.3f} ({worst}: {before.get(worst, 0.0):.3f} -> {now.get(worst, 0.0):.3f})",
        shifts[worst] <= limit,
    )


def _number_shift(current: npt.NDArray[np.float64], reference: npt.NDArray[np.float64], limit: float) -> DataCondition:
    """Compare the shares of the rows below every number: a label's share has no other meaning here."""
    found = round(float(ks_2samp(reference, current).statistic), 9)
    return DataCondition(
        "change of the numbers' distribution",
        f"retrain.quality.max_label_shift={limit:g} or less",
        f"{found:.3f} (median {np.median(reference):g} -> {np.median(current):g})",
        found <= limit,
    )
