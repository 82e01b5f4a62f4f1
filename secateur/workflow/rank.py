"""One of the processes in which the body of a stage runs: ``python -m secateur.workflow.rank``, see ``ranks``.

It is asked by a line of JSON on standard input, and ends when that closes, as it does when whoever asked is killed. The
first process writes the outputs; what another one would write goes to a folder that is removed.
"""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from secateur.config.schema import RunConfig
from secateur.errors import SecateurError
from secateur.identity.key import Identity
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from secateur.workflow.stages import find_stage


def main() -> int:
    """Run the body as the rank that the environment names; return the exit code."""
    from secateur.inference.device import find_device
    from secateur.training.processes import joined

    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    project = Project(Path(asked["root"]))
    config = read_config(project)
    with joined(device=find_device(config.run.device)) as ranks:
        try:
            _run(project, config, asked, rank=ranks.rank)
        except SecateurError as error:
            refusal = Path(asked["folder"], f"{ranks.rank}.json")
            refusal.write_text(json.dumps([type(error).__name__, str(error)]), encoding="utf-8")
            os._exit(error.exit_code)  # the others wait for this one, so it takes no leave of them
    return 0


def _run(project: Project, config: RunConfig, asked: dict[str, Any], *, rank: int) -> None:
    from secateur.workflow.execution import run_body

    stage, identity = find_stage(config, project.root, asked["stage"]), Identity(**asked["identity"])
    outputs = {name: Path(path) for name, path in asked["outputs"].items()}
    if rank > 0:
        scratch = Path(asked["folder"], str(rank))
        scratch.mkdir()
        outputs = {name: scratch / f"{name}-{path.name}" for name, path in outputs.items()}
    run_body(project, stage, config, identity, outputs=outputs, rank=rank)


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
