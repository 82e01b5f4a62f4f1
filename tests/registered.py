"""What is registered under a name, as JSON: ``python -m tests.registered NAME``, in a project.

Versions are named by their weights, so that what two registries hold can be compared. Every file of every version is
opened as a reader opens it, and manifests and history are compared with what they speak of.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secateur.registry.as_registered import all_problems
from secateur.registry.history import events
from secateur.registry.history_check import history_problems
from secateur.registry.mlflow_records import Records
from secateur.registry.mlflow_store import ModelRegistry
from secateur.registry.model_source import resolve
from secateur.registry.tags import WEIGHTS
from secateur.workflow.project import Project
from tests import warm
from tests.tiny import REPOSITORY, environment


def registered(root: Path, name: str, *, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return what a fork finds in a project; ``registry`` alone, with what was said, where it cannot be read."""
    variables = {**environment(), **(env or {}), "PYTHONPATH": str(REPOSITORY)}
    found = warm.run("tests.registered", (name,), cwd=root, env=variables)
    if found.returncode != 0:
        return {"registry": found.stderr[-500:]}
    return dict(json.loads(found.stdout))


def main(name: str) -> None:
    """Print it."""
    project = Project(Path.cwd())
    records = Records(ModelRegistry(project), name)
    versions = records.registry.versions(name)
    weights = {one.version: one.tags[WEIGHTS] for one in versions}
    wrong = [problem.said for problem in history_problems(records, key=None)]
    for one in versions:
        wrong += [problem.said for problem in all_problems(records, one, key=None)]
        resolve(project, f"models:/{name}/{one.version}", registry=records.registry, all_tags=True).close()
    moves = [(one.what, weights[one.to]) for one in events(records) if one.what in ("promoted", "rolled_back")]
    found = {
        "registered": sorted(weights.values()),
        "aliases": {alias: weights[version] for alias, version in records.aliases().items()},
        "moves": moves,
        "journal": "secateur.transition" in records.tags(),
        "problems": [said.replace(f"models:/{name}", "models:/it") for said in wrong],
    }
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
