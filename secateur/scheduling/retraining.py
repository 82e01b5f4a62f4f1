"""What a retraining came to, and what is remembered between two of them."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from secateur.config.schema import RunConfig
from secateur.files import to_json, write_json
from secateur.workflow.project import Project
from secateur.workflow.results import read_json

Action = Literal["up to date", "verified", "promoted", "held", "failed"]

LATEST = "reports/retrain.json"
_HISTORY = "retrain.jsonl"
_MEMORY = "retrain.json"


@dataclass(frozen=True)
class Retraining:
    """One run of ``retrain``.

    Attributes:
        action: up to date = nothing to do; verified = an old champion was checked and still holds; promoted = there is
            a new champion; held = there is none, for ``reason``; failed = an error ended the run.
        reason: one line.
        cause: what asked for the run: by hand, schedule, or an event.
        started: UTC, ISO 8601.
        seconds: how long it took.
        changes: what differed from the last run, one line each.
        stages: address -> cached, restored, run or measured; empty when no stage was looked at.
        champion: version that is the champion afterwards.
        challenger: version that was judged.
        conditions: of the rows or of the gate, as JSON.
    """

    action: Action
    reason: str
    cause: str = ""
    started: str = ""
    seconds: float = 0.0
    changes: tuple[str, ...] = ()
    stages: dict[str, str] = field(default_factory=dict)
    champion: str | None = None
    challenger: str | None = None
    conditions: tuple[dict[str, Any], ...] = ()


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


def record(project: Project, done: Retraining) -> None:
    """Write ``reports/retrain.json``; append what happened to ``.secateur/retrain.jsonl``.

    ``up to date``, and a hold for the same reason as before, are left out of the history: a schedule that finds the
    same every minute would bury the rest.
    """
    values = asdict(done)
    newest = next(iter(history(project, last=1)), {})
    told = {name: newest.get(name) for name in ("action", "reason")} == {"action": done.action, "reason": done.reason}
    if done.action != "up to date" and not told:
        project.state.mkdir(parents=True, exist_ok=True)
        with (project.state / _HISTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps(values, ensure_ascii=False, sort_keys=True) + "\n")
            file.flush()
            os.fsync(file.fileno())
    write_json(project.root / LATEST, {"latest": values, "history": history(project, last=20)})


def history(project: Project, *, last: int) -> list[dict[str, Any]]:
    """Return the latest recorded runs, newest first; a line that a killed process left half written is skipped."""
    path = project.state / _HISTORY
    if not path.is_file():
        return []
    found = []
    for line in reversed(path.read_text(encoding="utf-8").splitlines()):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
        if len(found) == last:
            break
    return found


def judged_before(project: Project, config: RunConfig, *, challenger: str, champion: str | None) -> str | None:
    """Return why this pair was held under these thresholds, if it was: judging again would say the same."""
    memory = read_json(project.state / _MEMORY).get("judged", {})
    return memory.get("reason") if memory.get("pair") == _pair(config, challenger, champion) else None


def remember_hold(project: Project, config: RunConfig, *, challenger: str, champion: str | None, reason: str) -> None:
    """Keep that this pair was held."""
    _remember(project, "judged", {"pair": _pair(config, challenger, champion), "reason": reason})


def last_review(project: Project, version: str) -> datetime | None:
    """Return when an unchanged champion was last verified."""
    found = read_json(project.state / _MEMORY).get("reviewed", {})
    return datetime.fromisoformat(found["at"]) if found.get("version") == version else None


def remember_review(project: Project, version: str) -> None:
    """Keep that a champion was verified now."""
    _remember(project, "reviewed", {"version": version, "at": now().isoformat()})


def _remember(project: Project, name: str, values: dict[str, str]) -> None:
    path = project.state / _MEMORY
    write_json(path, {**read_json(path), name: values})


def _pair(config: RunConfig, challenger: str, champion: str | None) -> str:
    thresholds = hashlib.sha256(to_json(config.promote.model_dump(mode="json")).encode()).hexdigest()[:16]
    return f"{challenger} against {champion} under {thresholds}"
