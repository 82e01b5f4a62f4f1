"""``report`` and ``doctor``."""

import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from secateur.errors import CheckFailed, SecateurError

_STACK = ("torch", "transformers", "datasets", "accelerate", "prefect", "dvc", "mlflow", "onnxruntime")
_SHOWN = 5
"""Files that a line names."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the path.")
def report(as_json: bool) -> None:
    """Write the report again from what the last run measured.

    Example: secateur report
    """
    from secateur.workflow.project import exclusive, find_project
    from secateur.workflow.report import write_report

    project = find_project()
    with exclusive(project):
        path, seconds = write_report(project)
    click.echo(json.dumps({"page": str(path), "seconds": round(seconds, 3)}) if as_json else path)


@click.command()
@click.option("--params", "list_params", is_flag=True, help="List every parameter with its meaning and range.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def doctor(list_params: bool, as_json: bool) -> None:
    """Check the machine, the environment and the workspace.

    Exit 1 when something is wrong.

    Example: secateur doctor
    """
    from secateur.cli import display

    if list_params:
        _list_params(as_json=as_json)
        return
    checks = [*_environment(), *_workspace()]
    if as_json:
        click.echo(json.dumps({"checks": checks}, indent=2))
    else:
        made = display.table("", "", "what", "found")
        for check in checks:
            mark = {True: "[green]ok[/]", False: "[red]bad[/]", None: ""}[check["ok"]]
            made.add_row(mark, str(check["what"]), display.plain(str(check["found"])))
        display.show(made)
    bad = [str(check["what"]) for check in checks if check["ok"] is False]
    if bad:
        raise CheckFailed(f"not in order: {', '.join(bad)}")


def _environment() -> list[dict[str, Any]]:
    import torch

    from secateur.determinism import fastest_precision

    found: list[dict[str, Any]] = []
    for name in _STACK:
        try:
            found.append({"what": name, "ok": True, "found": version(name)})
        except PackageNotFoundError:
            found.append({"what": name, "ok": False, "found": "not installed"})
    found.append({"what": "CPU code path", "ok": None, "found": torch.backends.cpu.get_cpu_capability()})
    found.append({"what": "precision auto", "ok": None, "found": f"trains in {fastest_precision()}, faster here"})
    found.append({"what": "threads", "ok": None, "found": torch.get_num_threads()})
    return found


def _workspace() -> list[dict[str, Any]]:
    from secateur.files import free_bytes
    from secateur.workflow.dvc_store import DvcStore
    from secateur.workflow.params import read_config
    from secateur.workflow.preflight import check
    from secateur.workflow.project import commit_of, dirty_files, exclusive, find_project
    from secateur.workflow.rendering import is_current

    try:
        project = find_project()
    except SecateurError as error:
        return [{"what": "project", "ok": False, "found": str(error)}]
    found: list[dict[str, Any]] = [{"what": "project", "ok": True, "found": str(project.root)}]

    def attempt(what: str, probe: Any) -> None:
        try:
            found.append({"what": what, "ok": True, "found": probe() or "in order"})
        except SecateurError as error:
            found.append({"what": what, "ok": False, "found": str(error)})

    def locked() -> None:
        with exclusive(project):
            pass

    attempt("params.yaml", lambda: read_config(project) and None)
    attempt("source, model, budget", lambda: check(project, read_config(project)))
    attempt("DVC workspace", lambda: f"{len(DvcStore(project).order())} stages")
    attempt("run lock", locked)
    current = is_current(project, read_config(project)) if found[1]["ok"] else None
    found.append(
        {"what": "dvc.yaml", "ok": current, "found": "agrees with the registry" if current else "run `secateur plan`"}
    )
    dirty = dirty_files(project.root)
    found.append({"what": "commit", "ok": None, "found": (commit_of(project.root) or "none")[:12]})
    found.append({"what": "changed code or params", "ok": None, "found": _some(dirty) or "none"})
    found.append({"what": "free space", "ok": None, "found": f"{free_bytes(project.root) / 1e9:.1f} GB"})
    return found


def _some(names: Sequence[str]) -> str:
    """Name the first few, and say how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _list_params(*, as_json: bool) -> None:
    from secateur.cli import display
    from secateur.config.catalogue import parameters

    rows = parameters()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    made = display.table("", "parameter", "type and range", "meaning")
    made.columns[0].no_wrap = True  # a name is there to be copied
    for row in rows:
        made.add_row(row["name"], display.plain(row["type"]), display.plain(row["description"]))
    display.show(made)
