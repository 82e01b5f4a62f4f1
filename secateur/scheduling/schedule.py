"""``schedule``: the ``retrain`` flow as a Prefect deployment, by the clock and by an event, one run at a time."""

import asyncio
import hashlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import State, flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events import DeploymentEventTrigger
from prefect.runner import Runner
from prefect.runtime import deployment, flow_run
from prefect.schedules import Cron, Interval, Schedule
from prefect.states import Cancelled, Completed, Crashed, Failed
from prefect.types.entrypoint import EntrypointType

from secateur.errors import ConfigError, SecateurError
from secateur.scheduling.retraining import Retraining, now, record
from secateur.workflow.chain import Watcher
from secateur.workflow.full_form import function_of
from secateur.workflow.outcome import Outcome
from secateur.workflow.project import Project, find_project, locked
from secateur.workflow.remarks import remarks
from secateur.workflow.running import without_record

EVENT = "secateur.data-changed"
DRIFTED = "secateur.traffic-drifted"
_CAUSES = {EVENT: "data changed", DRIFTED: "traffic drifted"}
_FLOW = "retrain"
_ROOT_VARIABLE = "SECATEUR_ROOT"
_POLL_SECONDS = 3.0
_STOP_SECONDS = 6.0
_STATE_NAMES = {"up to date": "UpToDate", "verified": "Verified", "promoted": "Promoted", "held": "Held"}


@flow(name=_FLOW, flow_run_name="secateur retrain: {cause}", validate_parameters=False)
def retrain_flow(cause: str = "schedule") -> State[Any]:
    """Fetch the source again; leave, or build, judge, and promote or hold.

    The project is the one of the deployment, and not a parameter: whoever may ask for a run must not name a folder
    whose code it runs.

    Args:
        cause: what asked for the run.

    Returns:
        A state named UpToDate, Verified, Promoted, Held or Failed; its message is the reason.
    """
    root = os.environ.get(_ROOT_VARIABLE)
    project = find_project(None if root is None else Path(root))
    retrain: Callable[..., Retraining] = function_of(project.root, "flows", "retrain", "retrain")
    build = without_record(function_of(project.root, "flows", "build", "build"))
    _coalesce()
    try:
        # The stages belong to this run: a flow inside a flow would cost a second and hide them one level down.
        done = retrain(project, cause=cause, build=lambda: build(str(project.root), _log_remarks(project)), wait=True)
    except SecateurError as error:
        failed = Retraining("failed", str(error), cause=cause, started=now().isoformat(timespec="seconds"))
        record(project, failed)
        return Failed(message=str(error))
    return Completed(name=_STATE_NAMES[done.action], message=done.reason, data=asdict(done))


def _log_remarks(project: Project) -> Watcher:
    """Return what writes into the run's log what each stage has to say after it has ended."""
    logger = get_run_logger()

    def watch(address: str, outcome: Outcome | None) -> None:
        if outcome is not None and outcome.action != "cached":
            for remark in remarks(project.root, address):
                logger.info("%s: %s", address, remark)

    return watch


def resource_id(project: Project) -> str:
    """Return the name under which events speak of a project: its folder and a digest of where it lies."""
    digest = hashlib.sha256(str(project.root).encode()).hexdigest()[:8]
    return f"secateur.project.{project.root.name}-{digest}"


def deployment_name(project: Project) -> str:
    """Return the name of the deployment, one per project on a server."""
    return resource_id(project).removeprefix("secateur.project.").replace("/", "-").replace("%", "-")


def parse_schedule(*, cron: str | None, every: timedelta | None, timezone: str) -> Schedule:
    """Read when to run.

    Raises:
        ConfigError: the cron expression or the time zone is malformed, or names a day that never comes; a time zone
            without one.
    """
    if every is not None:
        if timezone != "UTC":
            raise ConfigError(
                f"--timezone {timezone} belongs to --cron; --every counts hours, which are the same everywhere"
            )
        return Interval(every)
    malformed = (
        f"--cron {cron!r} is not a cron expression; five fields: minute hour day month weekday, such as '0 3 * * *'"
    )
    if len(str(cron).split()) != 5:
        raise ConfigError(malformed)
    _require_zone(timezone)
    from prefect.server.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    try:
        due = CronSchedule(cron=str(cron), timezone=timezone)
    except ValidationError as error:
        raise ConfigError(malformed) from error
    try:
        asyncio.run(due.get_dates(n=1))
    except ValueError as error:  # of the library that Prefect counts with
        raise ConfigError(f"--cron {cron!r} names a day that never comes") from error
    return Cron(str(cron), timezone=timezone)


def _require_zone(name: str) -> None:
    from zoneinfo import ZoneInfo

    try:
        if name == "localtime":  # of this machine, and no name
            raise ValueError
        ZoneInfo(name)
    except (ValueError, LookupError, OSError) as error:
        raise ConfigError(f"--timezone {name or repr(name)} is not known; try UTC or Europe/Berlin") from error


def serve(project: Project, schedule: Schedule) -> None:
    """Register the deployment and run what is due until SIGINT or SIGTERM.

    The first run is at once: it makes up for everything that was missed. The caller holds ``one_schedule`` and has a
    server answering.
    """
    os.environ[_ROOT_VARIABLE] = str(project.root)  # the runs are children of this process
    runner = Runner(name=deployment_name(project), limit=1, query_seconds=_POLL_SECONDS)
    triggers: list[Any] = [
        DeploymentEventTrigger(
            name=f"{deployment_name(project)}: {what}",
            expect={event},
            match={"prefect.resource.id": resource_id(project)},
            parameters={"cause": f"event: {what}"},
        )
        for event, what in _CAUSES.items()
    ]
    identity: Any = runner.add_flow(
        retrain_flow,
        name=deployment_name(project),
        schedule=schedule,
        triggers=triggers,
        parameters={"cause": "schedule"},
        description=f"Retrains {project.root}",
        tags=["secateur"],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    _bury_killed_runs(identity)
    with get_client(sync_client=True) as client:
        client.create_flow_run_from_deployment(identity, parameters={"cause": "start of the schedule"})
    _run_until_signal(runner)


def _run_until_signal(runner: Runner) -> None:
    """Let the runner work; either signal ends the run that is under way first, since the runner waits for it."""

    def leave(*_: object) -> None:
        _end_runs()
        sys.exit(0)

    # Prefect's own handler of SIGTERM makes a call that it never awaits and that Python warns about; Ctrl-C it leaves
    # to asyncio, which asks the runner to end, and the runner first waits for minutes.
    runner.handle_sigterm = leave  # type: ignore[method-assign]
    signal.signal(signal.SIGINT, leave)
    try:
        asyncio.run(runner.start())
    finally:
        _end_runs()


def _end_runs() -> None:
    """End the run that is under way, while the server still hears of it: without one it would try again for minutes.

    The next schedule goes on from its finished stages.
    """
    for run in multiprocessing.active_children():
        run.terminate()
        run.join(_STOP_SECONDS)
        run.kill()


@contextmanager
def one_schedule(project: Project) -> Iterator[None]:
    """Allow one schedule per project.

    Raises:
        ProjectError: another process has one, or nothing can be written here.
    """
    taken = f"{project.root} has a schedule already (process {{holder}}); stop it first"
    with locked(project, "schedule.lock", taken=taken):
        yield


def _coalesce() -> None:
    """Cancel the other runs that are due: this one sees everything that they would see."""
    own, of = flow_run.get_id(), deployment.get_id()
    if own is None or of is None:
        return
    with get_client(sync_client=True) as client:
        for run in _runs_in(client, UUID(str(of)), StateType.SCHEDULED):
            due = run.expected_start_time
            if str(run.id) != str(own) and due is not None and due <= now():
                client.set_flow_run_state(run.id, Cancelled(message=f"made up for by {own}"), force=True)


def _bury_killed_runs(identity: UUID) -> None:
    """Mark the runs of a killed schedule: nobody else can be running one, since a project has one schedule."""
    with get_client(sync_client=True) as client:
        for run in _runs_in(client, identity, StateType.RUNNING, StateType.PENDING):
            client.set_flow_run_state(run.id, Crashed(message="the schedule was killed"), force=True)


def _runs_in(client: Any, identity: UUID, *states: StateType) -> list[FlowRun]:
    found: list[FlowRun] = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[identity])),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states)))),
    )
    return found
