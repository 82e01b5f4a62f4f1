"""From the source of the rows to the champion: what a version was made of, step by step."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from secateur.errors import ModelError
from secateur.registry.history import events
from secateur.registry.lock import outputs_of, stages_of
from secateur.registry.tags import (
    CHALLENGER,
    CHAMPION,
    COMMIT,
    GATE,
    PREVIOUS,
    REPRODUCIBLE,
    RUNTIME,
    STAGE,
    WEIGHTS,
    VersionTags,
)
from secateur.registry.verdict import kept

if TYPE_CHECKING:
    from secateur.registry.mlflow_records import Records

_CODE = ("secateur/", "tasks/", "flows/")  # of versions made up to 0.3


@dataclass(frozen=True)
class Node:
    """One step.

    Attributes:
        what: ``data``, ``clean``, ``baseline``, ``round``, ``version``, ``verdict`` or ``champion``.
        name: of the step.
        facts: what identifies it, by name.
        children: what was made of it.
    """

    what: str
    name: str
    facts: Mapping[str, Any]
    children: "Sequence[Node]" = field(default_factory=tuple)

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        children = [child.as_json() for child in self.children]
        return {"what": self.what, "name": self.name, "facts": dict(self.facts), "children": children}


def lineage(records: "Records", version: str) -> Node:
    """Return the tree of a version, the data at its root.

    Raises:
        ModelError: no dvc.lock was stored with its build, so nothing says what it was made of.
    """
    tags = records.version_tags(version)
    stages = stages_of(records.stored_with_build(version, "dvc.lock", checked=False))
    if not stages:
        raise ModelError(
            f"models:/{records.name}/{version} has no lineage: no dvc.lock was stored with its build; "
            "`secateur run` registers versions that have one"
        )
    # dvc.lock holds what params.yaml gave; what it left to the defaults stands with the run.
    known = records.parameters(version)
    chain = [*_data(stages, known), *_models(stages, tags.stage, known)]
    node = _version(records, version, tags)
    for what, name, facts in reversed(chain):
        node = Node(what, name, facts, (node,))
    return node


_Step = tuple[str, str, Mapping[str, Any]]


def _data(stages: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[_Step]:
    ingest = _params(stages, "ingest")
    source = _section(ingest, "ingest").get("source", "unknown")
    yield "data", str(source), {"md5": outputs_of(stages, "ingest").get("data/raw"), **_inputs(stages, "ingest")}
    kept_rows = {path.rpartition("/")[2]: md5 for path, md5 in outputs_of(stages, "clean").items()}
    yield "clean", "clean", {**kept_rows, "seed": _params(stages, "clean").get("run.seed", known.get("run.seed"))}


def _models(stages: Mapping[str, Any], address: str, known: Mapping[str, Any]) -> Iterator[_Step]:
    """Return the dense model, and the rounds up to a stage."""
    rounds: list[str] = []
    name = address.partition("@")[2]
    while name and name != "baseline" and name not in rounds:
        rounds.append(name)
        params = _params(stages, f"prune@{name}")
        name = str(_section(params, f"prune.rounds.{name}").get("prev", "baseline"))
    base = _params(stages, "ingest").get("baseline.model", known.get("baseline.model", "the default"))
    facts = {"md5": outputs_of(stages, "baseline").get("models/baseline"), "base": base}
    yield "baseline", "baseline", facts
    for name in reversed(rounds):
        params = _params(stages, f"prune@{name}")
        budget = _section(params, "prune.budget") or _set(known, "prune.budget.")
        asked = {f"budget.{kind}": value for kind, value in budget.items()}
        criterion = params.get("prune.criterion", known.get("prune.criterion"))
        md5 = outputs_of(stages, f"prune@{name}").get(f"models/{name}")
        yield "round", name, {"md5": md5, "criterion": criterion, **asked, "teacher": "baseline"}


def _version(records: "Records", version: str, tags: VersionTags) -> Node:
    found = records.aliases()
    aliases = ", ".join(alias for alias in (CHAMPION, CHALLENGER, PREVIOUS) if found.get(alias) == version)
    said = (STAGE, WEIGHTS, COMMIT, REPRODUCIBLE, RUNTIME)
    facts = {tag.rpartition(".")[2]: tags[tag] for tag in said if tag in tags}
    moves = [
        Node("champion", f"{event.what.replace('_', ' ')} #{event.number}", event.as_json())
        for event in events(records)
        if event.to == version
    ]
    verdict = kept(tags)
    judged = []
    if verdict is not None:
        failed = ", ".join(condition.name for condition in verdict.failed)
        about = {"conditions": len(verdict.conditions), "failed": failed, "reason": verdict.reason}
        judged = [Node("verdict", tags.get(GATE, ""), about)]
    return Node("version", f"{records.name} {version}", facts | {"aliases": aliases}, (*judged, *moves))


def _set(known: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    found = {name.removeprefix(prefix): value for name, value in known.items() if name.startswith(prefix)}
    return {name: value for name, value in found.items() if value is not None}


def _params(stages: Mapping[str, Any], address: str) -> Mapping[str, Any]:
    found = (stages.get(address, {}).get("params") or {}).get("params.yaml")
    return found if isinstance(found, Mapping) else {}


def _section(params: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = params.get(name)
    return found if isinstance(found, Mapping) else {}


def _inputs(stages: Mapping[str, Any], address: str) -> dict[str, str]:
    """Return path -> md5 of what a stage read, less the code."""
    found = stages.get(address, {}).get("deps") or []
    return {dep["path"]: dep["md5"] for dep in found if not dep["path"].startswith(_CODE)}
