"""``build``: every stage in order, as cached Prefect tasks over the same bodies that ``dvc repro`` runs."""

import os
from pathlib import Path
from typing import Any

# For workers that import this alone; the command line has set both before.
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

from prefect import State, Task, flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.client.schemas.objects import TaskRun
from prefect.runtime import flow_run

from secateur.errors import SecateurError
from secateur.workflow.chain import Call, Watcher, bring_all_up_to_date
from secateur.workflow.driver import Outcome, bring_up_to_date
from secateur.workflow.dvc_store import DvcStore
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
def stage_task(cache_key: str, root: str, address: str, effects_outdated: bool) -> dict[str, Any]:
    """Bring one stage up to date and return its manifest (paths and digests)."""
    project = Project(Path(root))
    config = read_config(project)
    stage = find_stage(config, project.root, address)
    store = DvcStore(project)
    return bring_up_to_date(project, store, config, stage, effects_outdated=effects_outdated).as_json()


@flow(name="build", flow_run_name="secateur build", validate_parameters=False)
def build(root: str, watch: Watcher | None = None, until: str | None = None) -> list[dict[str, Any]]:
    """Run what is stale: ingest, clean, baseline, rounds, evaluate, register, report.

    Args:
        root: folder of the project, held exclusively by the caller.
        watch: told about progress.
        until: address of the last stage; None runs all.

    Returns:
        The manifest of every stage.
    """
    project = Project(Path(root))
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

    return [outcome.as_json() for outcome in bring_all_up_to_date(project, bring=bring, watch=watch, until=until)]


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
    )
    return Outcome.from_json(values)
