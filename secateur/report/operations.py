"""What happened around the build: the form that is deployed, the registry, the gate, the last retraining."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from secateur.report import formats, live
from secateur.report.results import DENSE, Json, ModelResult, ReportData

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
    found += [_champion(data, best), _retrained(data.retrain), _drifted(data.drift), _traffic(data.live)]
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
    if registered is None or best is None or version is None:
        return None
    return State(
        "Registered", f"{registered.get('model', 'the model')}, version {version}", _as(registered, best), "plain"
    )


def _as(registered: Json, best: ModelResult) -> str:
    """Say which alias the chosen round was given; another was chosen by other rules, or it was not written down."""
    alias, chosen = registered.get("alias"), registered.get("chosen", best.name)
    if not alias:
        return ""
    if chosen == best.name:
        return f"as {alias}"
    return f"{best.title} would be chosen now; {alias} is {_named(registered, registered['versions'].get(chosen))}"


def _named(registered: Json, version: object) -> str:
    """Name a version, and what it is on this page."""
    versions = registered.get("versions", {})
    made = next((name for name, number in versions.items() if str(number) == str(version)), None)
    if made is not None:
        return f"version {version} ({'dense' if made == DENSE else made})"
    return f"version {version}" + (", from another run" if versions else "")


def _champion(data: ReportData, best: ModelResult | None) -> State | None:
    """Say which version is the champion, as far as it was written down, and how it came to be.

    Who was promoted here is known from the gate, who was promoted elsewhere from the last registration.
    """
    registered, gate = data.registered or {}, data.gate
    champion: object
    mood: Mood = "plain"
    if gate is not None and _last_move(gate) >= str(registered.get("when", "")):
        champion, note, mood = _by_the_gate(registered, gate)
    elif "champion" in registered:
        champion = registered["champion"]
        note = "as the registry said when the models of this page were registered"
    else:
        return None
    if champion is None:
        return State("Champion", "none yet", note if gate else "`secateur models promote` asks the gate", mood)
    return State("Champion", _named(registered, champion), note + _beside(registered, best, champion), mood)


def _last_move(gate: Json) -> str:
    return str((gate.get("rolled_back") or gate).get("when", ""))


def _by_the_gate(registered: Json, gate: Json) -> tuple[object, str, Mood]:
    """Return the champion, what the gate said, and whether that is good."""
    judged = conditions(gate)
    held = f"{sum(condition.passed for condition in judged)} of {len(judged)} conditions hold"
    if not gate.get("promoted"):
        return gate.get("champion_before"), f"{_named(registered, gate.get('version'))} was held: {held}", "bad"
    if back := gate.get("rolled_back"):
        return back.get("to"), f"rolled back: {back.get('why')}", "bad"
    return (
        gate.get("version"),
        f"forced: {held}" if gate.get("forced") else held,
        "bad" if gate.get("forced") else "good",
    )


def _beside(registered: Json, best: ModelResult | None, champion: object) -> str:
    """Say that the page speaks of another version than the champion, where it does."""
    version = registered.get("versions", {}).get(best.name) if best else None
    if best is None or version is None or str(version) == str(champion):
        return ""
    return f"; this page speaks of {best.title}, version {version}"


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


def _traffic(values: Json | None) -> State | None:
    if values is None:
        return None
    said = [f"{row.said}, version {row.version}" for row in live.feedback(values)[:1]]
    if values["missing"] or not values["windows"]:
        why = [values["missing"]] if values["missing"] else []
        return State("Traffic", "compared with nothing yet", "; ".join([*why, *said]), "plain")
    if drifted := live.drift(values):
        return State("Traffic", "drifted", "; ".join([drifted, *said]), "bad")
    return State("Traffic", "like the training rows", "; ".join(said), "good")
