"""``sweep``: everything up to the baseline as cached stages, then many methods and budgets on it."""

from collections.abc import Callable, Sequence
from typing import Any

from secateur.config.prune import BudgetKind
from secateur.workflow.chain import Watcher
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from secateur.workflow.running import bring_project_up_to_date
from secateur.workflow.sweep import PLOT, SWEEP, run_sweep


def sweep(
    project: Project,
    *,
    methods: Sequence[str],
    kind: BudgetKind,
    fractions: Sequence[float],
    told: Callable[[str], None],
    watch: Watcher | None = None,
) -> dict[str, Any]:
    """Bring the baseline up to date, then sweep, and keep the results as runs in MLflow.

    Args:
        project: held exclusively by the caller.
        methods: criteria.
        kind: unit of the budgets.
        fractions: what may stay of dense.
        told: gets a line when Prefect keeps no record of the stages.
        watch: told about progress.

    Returns:
        The content of ``reports/sweep.json``.
    """
    bring_project_up_to_date(project, told=told, watch=watch, until="baseline")
    if watch:
        watch("sweep", None)
    config = read_config(project)
    values = run_sweep(project, config, methods=methods, kind=kind, fractions=fractions)
    from secateur.registry.mlflow_store import ModelRegistry  # MLflow takes seconds to import

    files = [project.root / SWEEP, project.root / PLOT]
    ModelRegistry(project).record_sweep(values, experiment=config.register_.experiment, files=files)
    return values
