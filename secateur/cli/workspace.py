"""``report`` and ``doctor``."""

import json

import click

from secateur.cli.examination import environment, workspace
from secateur.errors import CheckFailed

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
    checks = [*environment(), *workspace()]
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
