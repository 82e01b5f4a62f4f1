"""What came out of a promotion, as it is kept with the version and in ``reports/gate.json``."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from secateur.files import to_json
from secateur.gate.condition import UNKNOWN, Condition
from secateur.registry.manifest_entries import extend
from secateur.registry.tags import GATE, VERDICT, VersionTags

if TYPE_CHECKING:
    from secateur.registry.mlflow_records import Records

_log = logging.getLogger(__name__)

APPROVALS = "approvals"
"""The condition that people have to meet."""

_OF_THE_MOMENT = frozenset({"digests", "champion", "reload", "smoke", APPROVALS})
"""Conditions on what lies in a store, on what a process does and on who signed: the model need not change for them."""


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

    @property
    def waits(self) -> bool:
        """Whether nothing but approvals is missing."""
        return not self.promoted and not self.forced and {one.name for one in self.failed} == {APPROVALS}

    @property
    def lasts(self) -> bool:
        """Whether judging the same bits under the same thresholds would come to the same failure."""
        return any(one.name not in _OF_THE_MOMENT and one.found != UNKNOWN for one in self.failed)

    def as_json(self) -> dict[str, Any]:
        """Return JSON values; ``from_json`` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Verdict":
        """Read ``as_json``; further keys are left alone."""
        known = {name: values[name] for name in ("promoted", "forced", "version", "champion_before", "reason")}
        return cls(conditions=tuple(Condition(**condition) for condition in values["conditions"]), **known)


def keep(records: "Records", verdict: Verdict) -> None:
    """Keep a verdict with its version: in full, and in one word under ``secateur.gate``."""
    word = "held" if verdict.failed and not verdict.forced else "forced" if verdict.forced else "passed"
    word = "waits" if verdict.waits else word
    what = "promoted" if verdict.promoted else "judged"
    extend(records, verdict.version, what, {GATE: word, VERDICT: to_json(verdict.as_json())})


def kept(tags: VersionTags) -> Verdict | None:
    """Return the verdict among the tags of a version; None for one that was never judged, or not by us."""
    try:
        return Verdict.from_json(tags.json(VERDICT)) if VERDICT in tags else None
    except (ValueError, TypeError, KeyError, AttributeError):
        _log.warning("the tag %s of a version is no verdict of ours and counts for nothing", VERDICT)
        return None


def mark_promoted(records: "Records", version: str) -> None:
    """Say in the verdict of a version that it became the champion."""
    verdict = kept(records.version_tags(version))
    if verdict is not None and not verdict.promoted:
        keep(records, replace(verdict, promoted=True))
