"""``build``: every stage in order, as cached Prefect tasks over the same bodies that ``dvc repro`` runs."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The console speaks through our own progress; Prefect's records still reach its server.
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

from prefect import State, Task, flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.client.schemas.objects import TaskRun
from prefect.runtime import flow_run

from secateur.config import RunConfig
from secateur.errors import SecateurError
from tasks import latency_table
from tasks.driver import Outcome, bring_up_to_date
from tasks.dvc_store import DvcStore
from tasks.execution import has_effects
from tasks.params import read_config
from tasks.project import Project
from tasks.results import round_rows
from tasks.stages import Stage, find_stage, stages

Watcher = Callable[[str, Outcome | None], None]
"""Told the address of a stage before it starts (None) and after it ended."""


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
    config = read_config(project)
    store = DvcStore(project)
    os.environ["SECATEUR_FLOW_RUN_ID"] = str(flow_run.get_id())
    outcomes: list[Outcome] = []
    for stage in in_order(project, config, store):
        if stage.name == "prune":
            latency_table.ensure(project, config)  # a model from a hub has no shape before ingest
        if watch:
            watch(stage.address, None)
        outcome = _run_stage(project, store, stage, outcomes)
        outcomes.append(outcome)
        if stage.name == "prune" and outcome.action != "cached":
            create_table_artifact(
                key=f"prune-{stage.item}",
                table=round_rows(project.root, str(stage.item)),
                description=f"Round {stage.item}: asked, achieved and validated",
            )
        if watch:
            watch(stage.address, outcome)
        if stage.address == until:
            break
    return [outcome.as_json() for outcome in outcomes]


def in_order(project: Project, config: RunConfig, store: DvcStore) -> list[Stage]:
    """Return the stages in DVC's order, so that dvc.lock comes out the same under both drivers."""
    known = {stage.address: stage for stage in stages(config, project.root)}
    return [known[address] for address in store.order()]


def _run_stage(project: Project, store: DvcStore, stage: Stage, before: list[Outcome]) -> Outcome:
    address = stage.address
    rewritten = {outcome.stage for outcome in before if outcome.action in ("run", "measured")}
    effects_outdated = bool(stage.effect_inputs) and bool({"evaluate", "register"} & rewritten - {address})
    fresh = not store.status(address).changed and has_effects(project, stage) and not effects_outdated
    configured = stage_task.with_options(
        name=address,
        task_run_name=address,
        tags=["secateur", stage.name],
        result_storage=project.state / "prefect",
        # DVC decides; Prefect's record only counts when DVC agrees that nothing is stale.
        refresh_cache=not fresh,
    )
    key = f"stage/{address}/{store.identity(address).key}"
    values = configured(cache_key=key, root=str(project.root), address=address, effects_outdated=effects_outdated)
    outcome = Outcome.from_json(values)
    return Outcome(**{**outcome.as_json(), "action": "cached", "seconds": 0.0}) if fresh else outcome
