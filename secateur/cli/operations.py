"""``retrain``, ``schedule`` and ``watch``: keep a champion up to date without anybody there."""

import json
import os
import shlex
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from secateur.errors import CheckFailed
from secateur.processes.stopping import only_unwind

if TYPE_CHECKING:
    from collections.abc import Callable

    from secateur.scheduling.retraining import Retraining
    from secateur.workflow.prefect_server import Server
    from secateur.workflow.project import Project


class _Duration(click.ParamType[timedelta]):
    """``90s``, ``10m``, ``6h``, ``30d``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read a duration, or refuse it with one line."""
        from secateur.config.retrain import parse_duration

        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a line.")
@click.option(
    "--if-drifted",
    is_flag=True,
    help="Only where the last window of `serve --live` is not like the training rows.",
)
def retrain(as_json: bool, if_drifted: bool) -> None:
    """Fetch the source again, and build, judge and promote if anything changed.

    Says `up to date` within seconds when neither data nor parameters nor code changed. Rows that fail
    retrain.quality are held before anything is trained; a model that fails the gate is held after it. Exit 1 when
    held.

    Example: secateur retrain
    """
    from secateur.workflow.full_form import function_of
    from secateur.workflow.project import find_project

    project = find_project()
    run_once: Callable[..., Retraining] = function_of(project.root, "flows", "retrain", "retrain")
    cause = "by hand"
    if if_drifted:
        drift, traffic = _drift(project)
        if drift is None:
            click.echo(json.dumps({"action": "up to date", "reason": traffic}) if as_json else f"up to date: {traffic}")
            return
        cause = f"by hand, because {drift}"
    done = run_once(project, cause=cause, build=lambda: _build(project, as_json=as_json))
    if as_json:
        click.echo(json.dumps(asdict(done), indent=2))
    elif done.action != "held":
        click.echo(f"{done.action}: {done.reason} ({done.seconds:.1f} s)")
    if done.action == "held":
        raise CheckFailed(f"held: {done.reason}")


@click.command()
@click.option("--cron", help="Five fields: minute hour day month weekday.")
@click.option("--every", type=_Duration(), help="Instead of --cron: 10m, 6h, 1d.")
@click.option("--timezone", default="UTC", show_default=True, help="Of the cron expression.")
def schedule(cron: str | None, every: timedelta | None, timezone: str) -> None:
    """Retrain by the clock, and whenever the data changes.

    Serves a Prefect deployment until it is interrupted. Uses the server of PREFECT_API_URL, or starts one on
    127.0.0.1. One run at a time; runs that were missed are made up for by one. Whoever holds the key of that
    server may ask for a run, by sending the event that is printed.

    Example: secateur schedule --cron "0 3 * * *"
    """
    if (cron is None) == (every is None):
        raise click.UsageError("name one of --cron and --every")
    from secateur.registry.before_retraining import require_clean
    from secateur.workflow.params import read_config
    from secateur.workflow.project import find_project
    from secateur.workflow.rendering import require_current

    project = find_project()
    require_current(project, read_config(project))
    require_clean(project)
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "INFO"  # a terminal of its own: what its runs say is shown
    from secateur.scheduling.schedule import one_schedule, parse_schedule, serve
    from secateur.workflow.prefect_server import serving_prefect

    when = parse_schedule(cron=cron, every=every, timezone=timezone)
    only_unwind()
    with one_schedule(project):
        click.echo("starting", err=True)
        try:
            with serving_prefect(project) as server:
                _say_where(project, server, f"cron {cron!r} ({timezone})" if cron else f"every {every}")
                serve(project, when)
        except (KeyboardInterrupt, SystemExit):
            pass
    click.echo("the schedule has ended; finished stages are kept", err=True)


@click.command()
@click.option("--every", type=_Duration(), default="5s", show_default=True, help="Time between two looks.")
def watch(every: timedelta) -> None:
    """Tell the schedule when the source has changed, or the traffic has.

    A local file is compared by its digest, a package by its version, a hub id by its newest commit; of the traffic
    the last window of `serve --live` counts.

    Example: secateur watch --every 5s
    """
    from secateur.workflow.params import read_config
    from secateur.workflow.project import find_project

    project = find_project()
    source = read_config(project).ingest.source
    from secateur.scheduling.schedule import DRIFTED, EVENT, resource_id
    from secateur.scheduling.watch import send_event
    from secateur.scheduling.watch import watch as look
    from secateur.workflow.prefect_server import find_server

    find_server(project)
    only_unwind()
    click.echo(f"watching {source} every {every.total_seconds():g} s", err=True)

    def emit(change: str, event: str = EVENT) -> None:
        send_event(find_server(project), event=event, resource=resource_id(project), change=change)

    def tell(line: str) -> None:
        click.echo(line, err=True)

    try:
        look(project, every_s=every.total_seconds(), emit=emit, told=tell, drifted=lambda line: emit(line, DRIFTED))
    except KeyboardInterrupt:
        click.echo("no longer watching", err=True)


def _drift(project: "Project") -> tuple[str | None, str]:
    """Return what drifted in the last window of the traffic, and how the traffic stands in any case.

    Raises:
        ProjectError: no server has watched it.
    """
    from secateur.errors import ProjectError
    from secateur.registry.mlflow_records import Records
    from secateur.registry.mlflow_store import ModelRegistry
    from secateur.registry.tags import CHAMPION
    from secateur.scheduling.live import LIVE, read_live

    live = read_live(project)
    if live is None:
        raise ProjectError(f"there is no {LIVE} of a server: `secateur serve MODEL --live` writes it")
    if live.missing is not None:
        raise ProjectError(f"nobody can say whether the traffic drifted: {live.missing}")
    if not live.windows:
        return None, f"the first window of {live.window} texts has not ended"
    if live.drift is not None and live.version is not None:
        champion = Records(ModelRegistry(project), live.model).alias(CHAMPION)
        if champion != live.version:  # the server takes over the new one, and writes, some seconds later
            return None, f"version {live.version} was asked about other texts, and the champion is {champion or 'none'}"
    return live.drift, f"the last {live.windows[-1].texts} texts are like the training rows of {live.model}"


def _build(project: "Project", *, as_json: bool) -> list[dict[str, Any]]:
    """Run the ``build`` flow with progress on standard error."""
    from secateur.cli import display
    from secateur.workflow.running import bring_project_up_to_date

    with display.stage_progress(project, quiet=as_json) as progress:
        progress(display.STARTING_PREFECT, None)
        return bring_project_up_to_date(project, watch=progress, told=lambda line: click.echo(line, err=True))


def _say_where(project: "Project", server: "Server", when: str) -> None:
    from secateur.scheduling.schedule import EVENT, deployment_name, resource_id
    from secateur.workflow.prefect_server import key_file

    click.echo(f"retraining {project.root}, {when}; deployment retrain/{deployment_name(project)}")
    click.echo(
        f"Prefect: {server.api.removesuffix('/api')}" + ("" if server.key is None else "; `secateur ui` opens it")
    )
    key = "" if server.key is None else f'PREFECT_API_AUTH_STRING="$(cat {shlex.quote(str(key_file(project)))})" '
    click.echo("to ask for a run, from anywhere:" if server.key is None else "to ask for a run, from this machine:")
    click.echo(f"  {key}PREFECT_API_URL={server.api} prefect event emit {EVENT} --resource-id {resource_id(project)}")
