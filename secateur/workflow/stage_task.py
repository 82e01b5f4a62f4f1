"""A stage as a cached Prefect task, over the same body that ``dvc repro`` runs."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# For workers that import this alone; the command line has set both before.
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

from prefect import State, Task, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.client.schemas.objects import TaskRun
from prefect.runtime import flow_run

from secateur.errors import SecateurError
from secateur.workflow.chain import Call, plainly
from secateur.workflow.driver import bring_up_to_date
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.execution import Execute
from secateur.workflow.outcome import Outcome
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from secateur.workflow.results import round_rows
from secateur.workflow.stages import find_stage


def is_transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Retry what may go away by itself (a connection, a timeout), never a mistake or a bug."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, ConnectionError | TimeoutError) and not isinstance(error, SecateurError)


@task(
    cache_policy=CacheKeyFnPolicy(cache_key_fn=lambda _, arguments: arguments["cache_key"]),
    persist_result=True,
    result_serializer="json",
    cache_result_in_memory=False,
    retries=2,
    retry_delay_seconds=[1, 5],
    retry_condition_fn=is_transient,
)
def stage_task(cache_key: str, root: str, address: str, effects_outdated: bool, run: Execute) -> dict[str, Any]:
    """Bring one stage up to date and return its manifest (paths and digests)."""
    project = Project(Path(root))
    config = read_config(project)
    stage = find_stage(config, project.root, address)
    store = DvcStore(project)
    return bring_up_to_date(project, store, config, stage, effects_outdated=effects_outdated, run=run).as_json()


def as_tasks(project: Project) -> Callable[[Call], Outcome]:
    """Return what calls a stage as a task of the flow that is running; outside of one it is called plainly."""
    if flow_run.get_id() is None:
        return plainly(project)
    os.environ["SECATEUR_FLOW_RUN_ID"] = str(flow_run.get_id())

    def bring(call: Call) -> Outcome:
        outcome = _as_task(project, call)
        if call.stage.name == "prune" and not call.fresh and outcome.action != "cached":
            create_table_artifact(
                key=f"prune-{call.stage.item}",
                table=round_rows(project.root, str(call.stage.item)),
                description=f"Round {call.stage.item}: asked, achieved and validated",
            )
        return outcome

    return bring


def _as_task(project: Project, call: Call) -> Outcome:
    address = call.stage.address
    configured = stage_task.with_options(
        name=address,
        task_run_name=address,
        tags=["secateur", call.stage.name],
        result_storage=project.state / "prefect",
        # DVC decides; Prefect's record only counts when DVC agrees that nothing is stale.
        refresh_cache=not call.fresh,
    )
    values = configured(
        cache_key=f"stage/{address}/{call.key}",
        root=str(project.root),
        address=address,
        effects_outdated=call.effects_outdated,
        run=call.run,
    )
    return Outcome.from_json(values)
