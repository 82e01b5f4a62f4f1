"""A part of a sweep on a worker: ``python -m secateur.workers.sweep``, one method with all its budgets."""

import sys
from typing import Any

from secateur.workers.asking import Asked, answer, fetched, require_code
from secateur.workflow.project import Project


def _run(project: Project, asked: Asked) -> dict[str, Any]:
    from secateur.workflow.params import read_config
    from secateur.workflow.sweep import swept

    config = read_config(project)
    require_code(project, config, asked, stage="prune")
    fetched(project, asked)
    return swept(project, config, methods=asked["methods"], kind=asked["kind"], fractions=asked["fractions"])


if __name__ == "__main__":
    sys.exit(answer(_run))
