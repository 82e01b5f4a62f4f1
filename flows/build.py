"""``build``: every stage in order, as far as it is stale."""

from pathlib import Path
from typing import Any

from secateur.workflow.stage_task import as_tasks  # before Prefect, which reads the environment that this sets

# isort: split
from prefect import flow

from secateur.workflow.chain import Watcher, bring_all_up_to_date
from secateur.workflow.project import Project


@flow(name="build", flow_run_name="secateur build", validate_parameters=False)
def build(root: str, watch: Watcher | None = None, until: str | None = None) -> list[dict[str, Any]]:
    """Run what is stale: ingest, clean, baseline, rounds, evaluate, register, report.

    Where Prefect's server does not start, the same function is run outside of a flow, and leaves no record.

    Args:
        root: folder of the project, held exclusively by the caller.
        watch: told about progress.
        until: address of the last stage; None runs all.

    Returns:
        The manifest of every stage.
    """
    project = Project(Path(root))
    outcomes = bring_all_up_to_date(project, bring=as_tasks(project), watch=watch, until=until)
    return [outcome.as_json() for outcome in outcomes]
