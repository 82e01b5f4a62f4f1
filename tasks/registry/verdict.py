"""What came out of a promotion, as it is kept with the version and in ``reports/gate.json``."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from secateur.evaluation.gate import Condition


@dataclass(frozen=True)
class Verdict:
    """What the gate said, and what followed.

    Attributes:
        promoted: the version is the champion now.
        forced: it is although a condition failed.
        version: number of the judged version.
        champion_before: number of the champion before; None when there was none.
        conditions: all of them; those that could not be judged after a failure are left out.
        reason: one line.
    """

    promoted: bool
    forced: bool
    version: str
    champion_before: str | None
    conditions: tuple[Condition, ...]
    reason: str

    @property
    def failed(self) -> tuple[Condition, ...]:
        """The conditions that did not pass."""
        return tuple(condition for condition in self.conditions if not condition.passed)

    def as_json(self) -> dict[str, Any]:
        """Return JSON values; ``from_json`` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Verdict":
        """Read ``as_json``; further keys are left alone."""
        known = {name: values[name] for name in ("promoted", "forced", "version", "champion_before", "reason")}
        return cls(conditions=tuple(Condition(**condition) for condition in values["conditions"]), **known)
