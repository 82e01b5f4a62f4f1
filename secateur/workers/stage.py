"""A stage on a worker: ``python -m secateur.workers.stage``, in an empty folder with the few files that it was sent.

What the stage makes is stored under its digest, and only digests are answered. The dvc.lock that DVC writes here goes
with the folder.
"""

import sys
from typing import Any

from secateur.errors import ProjectError
from secateur.workers.asking import Asked, answer, fetched, require_code
from secateur.workflow.project import Project


def _run(project: Project, asked: Asked) -> dict[str, Any]:
    from secateur.determinism import fingerprint
    from secateur.workflow.execution import execute
    from secateur.workflow.params import read_config
    from secateur.workflow.stages import find_stage

    config = read_config(project)
    stage = find_stage(config, project.root, asked["title"])
    require_code(project, config, asked, stage=stage.name)
    store, shared = fetched(project, asked)
    identity = store.identity(stage.address)
    if identity.key != asked["key"]:
        raise ProjectError(
            f"{stage.address}: what was sent to the worker {asked['worker']} comes to the key {identity.key[:12]}, "
            f"asked {asked['key'][:12]}; was a file changed while it was sent? `secateur run` sends it again"
        )
    seconds = execute(project, stage, config, identity)
    store.commit(stage.address)
    outputs = store.output_digests(stage.address)
    if not shared:
        store.push(list(outputs.values()))
    return {"outputs": outputs, "seconds": seconds, "fingerprint": fingerprint(constraints=project.constraints_file)}


if __name__ == "__main__":
    sys.exit(answer(_run))
