"""``ui``."""

import json
import signal
from dataclasses import asdict
from threading import Event

import click

from secateur.processes.stopping import only_unwind


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="Of the index page; 0 takes a free one."
)
@click.option("--open", "open_page", is_flag=True, help="Open the index page in a browser.")
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as JSON.")
def ui(port: int, open_page: bool, as_json: bool) -> None:
    """Show Prefect, MLflow and the report behind one page.

    Uses the servers that answer already (PREFECT_API_URL, MLFLOW_TRACKING_URI, a running schedule), starts the others
    on 127.0.0.1 with free ports, and ends these on Ctrl-C or SIGTERM.

    Example: secateur ui --open
    """
    from secateur.workflow.project import find_project

    project = find_project()
    from secateur.serving.ui import looking
    from secateur.workflow.project import exclusive
    from secateur.workflow.report import is_outdated, write_report

    only_unwind()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        if is_outdated(project):
            with exclusive(project):
                write_report(project)
        click.echo("starting, which takes about 15 s", err=True)
        with looking(project, port=port) as addresses:
            if as_json:
                click.echo(json.dumps(asdict(addresses)))
            else:
                for name, address in asdict(addresses).items():
                    click.echo(f"{name:<8}{address}")
                click.echo("Ctrl-C ends what was started", err=True)
            if open_page:
                click.launch(addresses.index)
            Event().wait()
    except KeyboardInterrupt:
        click.echo("ended", err=True)


def _interrupt(*_: object) -> None:
    """Leave the blocks that end the servers; a second signal must not leave them early."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
