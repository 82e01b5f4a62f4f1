"""One of the processes in which the body of a stage runs: ``python -m secateur.workflow.rank``, see ``ranks``.

It is asked by a line of JSON on standard input, and ends when that closes, as it does when whoever asked is killed. The
first process writes the outputs; what another one would write goes to a folder that is removed.
"""

import json
import os
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from secateur.errors import SecateurError
from secateur.identity.key import Identity
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from secateur.workflow.stages import find_stage


def main() -> int:
    """Run the body as the rank that the environment names; return the exit code."""
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        _run(asked)
    except SecateurError as error:
        Path(asked["error"]).write_text(json.dumps([type(error).__name__, str(error)]), encoding="utf-8")
        return error.exit_code
    return 0


def _run(asked: dict[str, Any]) -> None:
    from secateur.inference.device import find_device
    from secateur.training.processes import joined
    from secateur.workflow.execution import run_body

    project = Project(Path(asked["root"]))
    config = read_config(project)
    stage, identity = find_stage(config, project.root, asked["stage"]), Identity(**asked["identity"])
    outputs = {name: Path(path) for name, path in asked["outputs"].items()}
    with joined(device=find_device(config.run.device)) as ranks, TemporaryDirectory(dir=project.state) as scratch:
        if ranks.rank > 0:
            outputs = {name: Path(scratch) / f"{name}-{path.name}" for name, path in outputs.items()}
        run_body(project, stage, config, identity, outputs=outputs, rank=ranks.rank)


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
