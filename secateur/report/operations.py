"""What happened around the build: the form that is deployed, the registry, the gate, the last retraining."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from secateur.report import formats
from secateur.report.results import Json, ModelResult, ReportData

Mood = Literal["good", "bad", "plain"]


@dataclass(frozen=True)
class State:
    """One line of the overview: what it is about, how it stands, and why."""

    name: str
    value: str
    note: str
    mood: Mood


@dataclass(frozen=True)
class Condition:
    """One condition of the gate or of the data's quality."""

    name: str
    asked: str
    found: str
    passed: bool
    reason: str


def states(data: ReportData, results: Sequence[ModelResult], *, best: ModelResult | None) -> tuple[State, ...]:
    """Say what is deployed, what was registered, what the gate said and what the last retraining did."""
    found = [_deployed(best, str(data.details.get("deployed", ""))), _registered(data.registered, best)]
    found += [_gate(data.gate), _retrained(data.retrain), _drifted(data.drift)]
    return tuple(state for state in found if state is not None)


def conditions(values: Json | None) -> tuple[Condition, ...]:
    """Read the entry ``conditions``, in its order; none when there is nothing to read."""
    return tuple(
        Condition(
            name=str(entry["name"]).replace("_", " "),
            asked=str(entry["asked"]),
            found=str(entry["found"]),
            passed=bool(entry["passed"]),
            reason=str(entry.get("reason", "")),
        )
        for entry in (values or {}).get("conditions", ())
    )


def _deployed(best: ModelResult | None, runtime: str) -> State | None:
    if best is None or best.deployed is None:
        return None
    note = [
        formats.unit_for([best.deployed.bytes], "B").with_symbol(best.deployed.bytes),
        f"{best.kind.measure.title} {best.kind.presentation().scale.write(best.deployed.quality.value)}",
    ]
    if runtime in best.timings:
        median = best.timings[runtime].median_ms
        note.insert(0, formats.unit_for_ms([median]).with_symbol(median))
    return State("Deployed form", f"{best.title}, {formats.runtime(runtime)}", ", ".join(note), "plain")


def _registered(registered: Json | None, best: ModelResult | None) -> State | None:
    version = (registered or {}).get("versions", {}).get(best.name) if best else None
    if registered is None or version is None:
        return None
    alias = registered.get("alias")
    note = f"as {alias}" if alias else ""
    return State("Registered", f"{registered.get('model', 'the model')}, version {version}", note, "plain")


def _gate(gate: Json | None) -> State | None:
    if gate is None:
        return None
    judged = conditions(gate)
    passed = sum(condition.passed for condition in judged)
    note = f"{passed} of {len(judged)} conditions hold"
    if not gate.get("promoted"):
        champion = gate.get("champion_before")
        stays = f"; version {champion} stays champion" if champion else ""
        return State("Champion", f"version {gate.get('version')} was held", note + stays, "bad")
    if back := gate.get("rolled_back"):
        return State("Champion", f"version {back.get('to')}", f"rolled back: {back.get('why')}", "bad")
    how = "forced: " if gate.get("forced") else ""
    mood: Mood = "bad" if gate.get("forced") else "good"
    return State("Champion", f"version {gate.get('version')}", how + note, mood)


def _retrained(retrain: Json | None) -> State | None:
    if retrain is None:
        return None
    action = str(retrain.get("action", "unknown"))
    mood: Mood = "bad" if action in ("held", "failed") else "good"
    return State("Last retraining", action, str(retrain.get("reason") or ""), mood)


def _drifted(drift: Json | None) -> State | None:
    if drift is None:
        return None
    quality: dict[str, Any] = drift.get("quality") or {}
    if quality and not quality.get("passed"):
        failed = [condition.name for condition in conditions(quality) if not condition.passed]
        return State("Data", "not fit to train on", ", ".join(failed), "bad")
    findings = list(drift.get("findings", ()))
    if findings:
        return State("Data", "drifted", "; ".join(map(str, findings)), "bad")
    if drift.get("reference") is None:
        return State("Data", "fit to train on", "nothing to compare with yet", "plain")
    return State("Data", "no drift", "against the champion’s rows", "good")
