"""``sweep``: everything up to the baseline as cached stages, then many methods and budgets on it."""

from collections.abc import Sequence
from typing import Any

from flows.build import Watcher, build
from secateur.config.prune import BudgetKind, Criterion
from tasks.params import read_config
from tasks.project import Project
from tasks.sweep import run_sweep


def sweep(
    project: Project,
    *,
    methods: Sequence[Criterion],
    kind: BudgetKind,
    fractions: Sequence[float],
    watch: Watcher | None = None,
) -> dict[str, Any]:
    """Bring the baseline up to date, then sweep.

    Args:
        project: held exclusively by the caller.
        methods: criteria.
        kind: unit of the budgets.
        fractions: what may stay of dense.
        watch: told about progress.

    Returns:
        The content of ``reports/sweep.json``.
    """
    build(str(project.root), watch, until="baseline")
    if watch:
        watch("sweep", None)
    return run_sweep(project, read_config(project), methods=methods, kind=kind, fractions=fractions)
