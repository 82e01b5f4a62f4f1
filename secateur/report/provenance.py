"""Where the result comes from: the chain of stages with their digests, the machine, the parameters."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from secateur.models.card import Card
from secateur.report import formats
from secateur.report.results import DENSE, Json, ModelResult, ReportData, round_number

Fact = tuple[str, str]
"""A name and its value, both as the reader sees them."""


@dataclass(frozen=True)
class Step:
    """One link of the chain: the stage, what it made, and the digests that identify it."""

    stage: str
    made: str
    digests: tuple[Fact, ...]


def lineage(data: ReportData, results: Sequence[ModelResult]) -> tuple[Step, ...]:
    """Return the chain from the source file to the last round, to the registry, and to the last promotion."""
    source = data.data.get("source", {})
    rows = data.data.get("rows", {})
    dense = results[0].card
    inputs = dense.inputs
    splits = tuple((name, str(inputs[name])) for name in ("train", "validation", "test", "labels") if name in inputs)
    base = (("base model", str(inputs["base"])),) if "base" in inputs else ()
    steps = [
        Step("ingest", source_line(source), _digests(source, ("sha256",))),
        Step(
            "clean", f"{formats.count(rows.get('kept', 0))} of {formats.count(rows.get('read', 0))} rows kept", splits
        ),
        Step("baseline", "the dense model", (*_made_of(dense), *base)),
    ]
    for result in results[1:]:
        made = f"{result.title}, {_made(result)}"
        steps.append(Step(f"prune@{result.name}", made, _made_of(result.card)))
    if data.registered is not None:
        steps.append(Step("register", _published(data.registered), ()))
    if data.gate is not None:
        steps.append(Step("promote", _judged(data.gate), ()))
    return tuple(steps)


def source_line(source: Json) -> str:
    """Name the source in one line: reference, version, licence, size."""
    name = source.get("source") or source.get("package") or source.get("hub_id") or "unknown source"
    version = source.get("version") or source.get("revision")
    parts = [f"{name} {version}" if version else str(name)]
    if source.get("licence"):
        parts.append(str(source["licence"]))
    if source.get("bytes"):
        parts.append(formats.unit_for([source["bytes"]], "B").with_symbol(source["bytes"]))
    return ", ".join(parts)


def environment(results: Sequence[ModelResult]) -> tuple[Fact, ...]:
    """Describe what can change the bits: the fingerprint of dense, and which rounds have another one."""
    fingerprint = results[0].card.fingerprint
    facts = [(_words(key), str(value)) for key, value in sorted(fingerprint.items())]
    seed = results[0].card.seed
    if seed is not None:
        facts.insert(0, ("seed", str(seed)))
    others = [result.title for result in results[1:] if (result.card.fingerprint or fingerprint) != fingerprint]
    if others:
        facts.append(("made elsewhere", ", ".join(others)))
    return tuple(facts)


def timing_facts(data: ReportData) -> tuple[Fact, ...]:
    """Describe how and where the times were measured."""
    latency = data.latency or {}
    facts = {**latency.get("settings", {}), **latency.get("machine", {})}
    return tuple((_words(key), _shown(value)) for key, value in facts.items())


def parameters(results: Sequence[ModelResult]) -> tuple[Fact, ...]:
    """Return every parameter that decided these models; rounds of a chain share theirs."""
    merged: dict[str, Any] = {}
    for result in results:
        merged |= result.card.parameters
    return tuple((key, _shown(value)) for key, value in sorted(merged.items()))


def _made(result: ModelResult) -> str:
    if not result.accepted:
        return result.verdict
    body = result.kind.presentation().words.body
    return f"{formats.percent(result.sparsity)} of the {body}'s parameters removed"


def _published(registered: Json) -> str:
    versions = [
        f"{'dense' if name == DENSE else name} is version {version}"
        for name, version in sorted(registered.get("versions", {}).items(), key=lambda item: round_number(item[0]))
    ]
    return f"{registered.get('model', 'the model')}: {', '.join(versions) or 'no version'}"


def _judged(gate: Json) -> str:
    before = f"; the champion before is version {gate['champion_before']}" if gate.get("champion_before") else ""
    return f"version {gate.get('version')} {'became champion' if gate.get('promoted') else 'was held'}{before}"


def _made_of(card: Card) -> tuple[Fact, ...]:
    return _digests({"key": card.key, "weights_sha256": card.weights_sha256}, ("key", "weights_sha256"))


def _digests(record: Json, keys: tuple[str, ...]) -> tuple[Fact, ...]:
    return tuple((_words(key), str(record[key])) for key in keys if record.get(key))


def _words(key: str) -> str:
    return {"weights_sha256": "weights", "sha256": "sha256", "num_threads": "threads"}.get(key, key.replace("_", " "))


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
