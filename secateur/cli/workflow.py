"""``run``, ``plan``, ``why`` and ``stage``."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from secateur.errors import CheckFailed, Occupied

if TYPE_CHECKING:
    from secateur.config.schema import RunConfig
    from secateur.workflow.explain import Explanation
    from secateur.workflow.outcome import Outcome
    from secateur.workflow.params import Change
    from secateur.workflow.project import Project

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


@click.command()
@click.option("--params", "file", type=click.Path(path_type=Path), help="Take the parameters from this file.")
@click.option("-S", "overrides", multiple=True, metavar="section.key=value", help="Set one parameter; repeatable.")
@click.option("--driver", type=click.Choice(["prefect", "dvc"]), default="prefect", show_default=True)
@click.option(
    "--commit", is_flag=True, help="Commit params.yaml, dvc.yaml, dvc.lock and the metrics to git afterwards."
)
@click.option("--wide", is_flag=True, help="Show all that was measured, in as many columns as it takes.")
@_JSON
def run(file: Path | None, overrides: tuple[str, ...], driver: str, commit: bool, wide: bool, as_json: bool) -> None:
    """Run the whole flow, as far as it is stale.

    The stages are ingest, clean, baseline, prune (in rounds), evaluate, register and report. -S and --params write
    to params.yaml, as `dvc exp run -S` does.

    Example: secateur run -S prune.criterion=magnitude -S prune.budget.macs=0.4
    """
    from secateur.cli.run_display import run_summary
    from secateur.workflow.params import propose
    from secateur.workflow.project import exclusive, find_project

    project = find_project()
    started = time.monotonic()
    change = propose(project, file=file, overrides=overrides)
    with exclusive(project):
        outcomes = prepare(project, change)
        if outcomes is None:
            outcomes = _with_prefect(project, as_json=as_json) if driver == "prefect" else _with_dvc(project)
    run_summary(project, outcomes, seconds=time.monotonic() - started, wide=wide, as_json=as_json)
    _offer_commit(project, commit=commit, as_json=as_json)


def prepare(project: "Project", change: "Change") -> "list[Outcome] | None":
    """Refuse what cannot work before anything is written; then write params.yaml and dvc.yaml.

    Returns:
        The manifests of the stages where there is nothing to do.
    """
    if (done := _when_done(project, change)) is not None:
        return done
    from secateur.workflow import latency_table
    from secateur.workflow.dvc_store import DvcStore  # all that computes is slow to import
    from secateur.workflow.elsewhere import require_engine
    from secateur.workflow.preflight import check
    from secateur.workflow.project import dirty_files
    from secateur.workflow.rendering import update_pipeline

    DvcStore(project)  # a folder that is none is refused
    check(project, change.config)
    require_engine(project, change.config)
    told = latency_table.ensure(project, change.config)  # it may refuse, and then no parameter has changed
    change.apply(project)
    if told:
        click.echo(told, err=True)
    update_pipeline(project, change.config)
    if dirty := dirty_files(project.root):
        said = (
            f"not committed: {', '.join(dirty)}; what is registered now cannot be rebuilt (`secateur models reproduce`)"
        )
        click.echo(f"{said}, commit first where it has to be", err=True)
    return None


def _when_done(project: "Project", change: "Change") -> "list[Outcome] | None":
    """Return the manifests where a run has nothing to do, and nothing is refused; None where there is something."""
    from secateur.workflow.outcome import nothing_to_do
    from secateur.workflow.rendering import is_current
    from secateur.workflow.stages import stages

    if change.after != change.before or not is_current(project, change.config):
        return None
    return nothing_to_do(project, stages(change.config, project.root))


def _with_prefect(project: "Project", *, as_json: bool) -> "list[Outcome]":
    from secateur.cli import display
    from secateur.workflow.outcome import Outcome
    from secateur.workflow.running import bring_project_up_to_date

    with display.stage_progress(project, quiet=as_json) as watch:
        watch(display.STARTING_PREFECT, None)
        done = bring_project_up_to_date(project, watch=watch, told=lambda line: click.echo(line, err=True))
    return [Outcome.from_json(values) for values in done]


def _with_dvc(project: "Project") -> "list[Outcome]":
    """Let ``dvc repro`` run the same stages, one process each, on this machine."""
    from secateur.engines.setting import read_setting
    from secateur.workflow.dvc_store import DvcStore
    from secateur.workflow.outcome import Outcome

    if (setting := read_setting()).kind != "local":
        click.echo(f"{setting} is for --driver prefect: dvc repro runs every stage here", err=True)
    stale = {address for address, status in DvcStore(project).statuses().items() if status.changed}
    # The terminal's Ctrl-C reaches every process here. DVC would say at length what this one says in a line, and then
    # ends with its stage.
    command = ["sh", "-c", 'trap "" INT; exec "$0" "$@"', sys.executable, "-P", "-m", "secateur.workflow.dvc_repro"]
    completed = subprocess.run(command, cwd=project.root, check=False, stdout=sys.stderr)
    if completed.returncode != 0:
        raise CheckFailed("dvc repro failed; its message stands above")
    after = DvcStore(project)
    return [
        Outcome(address, "run" if address in stale else "cached", after.identity(address).key, 0.0)
        for address in after.order()
    ]


def _offer_commit(project: "Project", *, commit: bool, as_json: bool) -> None:
    from secateur.workflow.project import git

    files = ["params.yaml", "dvc.yaml", "code.lock", "dvc.lock", "latency_table.json", "reports/metrics.json"]
    # The names of `status` start at the repository, of which the project may be a part; a folder stands for its files
    # unless all are asked for.
    told = git(project.root, "status", "--porcelain", "-z", "--untracked-files=all", "--", *files).split("\0")
    changed = [name for name in files if any(f"/{entry[3:]}".endswith(f"/{name}") for entry in told)]
    if not changed:
        return
    if commit:
        git(project.root, "add", "--", *changed, hooks=True)
        git(project.root, "commit", "-m", "Run the workflow: " + ", ".join(changed), "--", *changed, hooks=True)
    if not as_json:
        verb = "committed" if commit else "to keep this run in git: git add " + " ".join(changed) + "  (or --commit)"
        click.echo(f"{verb}: {', '.join(changed)}" if commit else verb, err=True)


@click.command()
@click.option("--params", "file", type=click.Path(path_type=Path), help="Take the parameters from this file.")
@click.option("-S", "overrides", multiple=True, metavar="section.key=value", help="Set one parameter; repeatable.")
@_JSON
def plan(file: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say what a run would do, stage by stage, and refuse what it would refuse.

    Renders dvc.yaml anew when the registry or the rounds changed. With -S or --params nothing is written, nor while
    a run goes on.

    Example: secateur plan -S clean.min_confidence=0.7
    """
    from secateur.cli import plan_display
    from secateur.workflow.params import propose
    from secateur.workflow.preflight import check
    from secateur.workflow.project import find_project, looking

    project = find_project()
    change = propose(project, file=file, overrides=overrides)
    if overrides or file:
        check(project, change.config)
        plan_display.planned_change(project, change, as_json=as_json)
        return
    with looking(project) as seen:
        if seen.holder is None and _when_done(project, change) is None:
            check(project, change.config)  # before anything is written, as `run` does
        explained = _explained(seen, change.config, quiet=as_json)
    plan_display.plan_table(explained, as_json=as_json)


def _explained(project: "Project", config: "RunConfig", *, quiet: bool) -> "list[Explanation]":
    """Explain every stage, after dvc.yaml was brought up to date; while a run goes on nothing is written, and told."""
    from secateur.workflow import explain
    from secateur.workflow.dvc_store import DvcStore
    from secateur.workflow.rendering import is_current, update_pipeline
    from secateur.workflow.stages import stages

    if project.holder is None:
        if update_pipeline(project, config) and not quiet:
            click.echo("dvc.yaml was rendered anew", err=True)
    elif is_current(project, config):
        said = (
            f"another command works here (process {project.holder}): so it stands at this moment; nothing was written"
        )
        click.echo(said, err=True)
    else:
        raise Occupied(
            f"another command works here (process {project.holder}), with other parameters or other code than now; "
            "what comes after it is known when it has ended"
        )
    try:
        return explain.plan(project, DvcStore(project), config, stages(config, project.root))
    except FileNotFoundError as error:
        if project.holder is None:
            raise
        raise Occupied(f"the run that goes on moved {error.filename} while it was looked at; ask again") from error


@click.command()
@click.argument("address", metavar="STAGE")
@_JSON
def why(address: str, as_json: bool) -> None:
    """Name the cause for which STAGE would run again.

    That is a parameter with both values, a file of data, a line of code, or an output that was lost or changed.

    Example: secateur why prune@r2
    """
    from secateur.cli import plan_display
    from secateur.workflow import explain
    from secateur.workflow.params import read_config
    from secateur.workflow.project import find_project, looking
    from secateur.workflow.stages import find_stage, stages

    project = find_project()
    config = read_config(project)
    find_stage(config, project.root, address)
    with looking(project) as seen:
        explained = _explained(seen, config, quiet=True)
    relevant = explain.ancestors(stages(config, project.root), address)
    chain = [entry for entry in explained if entry.stage in relevant]
    if as_json:
        click.echo(json.dumps([asdict(entry) for entry in chain], indent=2))
        return
    plan_display.why(address, chain)


@click.command()
@click.argument("address", metavar="NAME")
def stage(address: str) -> None:
    """Run one stage, stale or not; dvc.yaml calls this.

    Under `dvc repro` DVC records the result; called by hand it is recorded here.

    Example: secateur stage prune@r2
    """
    from secateur.workflow.driver import run_stage
    from secateur.workflow.latency_table import require_present
    from secateur.workflow.params import read_config
    from secateur.workflow.preflight import check
    from secateur.workflow.project import exclusive, find_project
    from secateur.workflow.remarks import remarks
    from secateur.workflow.rendering import require_current
    from secateur.workflow.stages import find_stage

    project = find_project()
    config = read_config(project)
    wanted = find_stage(config, project.root, address)
    require_current(project, config)
    if wanted.name == "ingest":
        check(project, config)
    if wanted.name == "prune":
        require_present(project, config)
    if "DVC_STAGE" in os.environ:
        run_stage(project, config, wanted, commit=False)
    else:
        with exclusive(project):
            run_stage(project, config, wanted, commit=True)
    for remark in remarks(project.root, address):
        click.echo(remark, err=True)
