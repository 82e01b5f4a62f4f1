"""``serve``: a model behind HTTP."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from secateur.errors import ProjectError
from secateur.workflow.stopping import only_unwind

if TYPE_CHECKING:
    from secateur.config.serve import ServeSection
    from secateur.serving.server import Listening
    from secateur.workflow.project import Project


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--host", help="Address to listen on instead of serve.host.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port instead of serve.port; 0 takes a free one.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes instead of serve.workers.")
@click.option("--json", "as_json", is_flag=True, help="Print where it listens as JSON.")
def serve(model: str, host: str | None, port: int | None, workers: int | None, as_json: bool) -> None:
    """Answer HTTP requests with a model.

    MODEL is models:/name@alias, which is followed: a promotion is taken over without a failed request. A version or a
    folder stays what it is. /predict of a classifier, /generate of a generator, /health, /metrics, /model; /docs
    describes them. SIGTERM finishes open requests.

    Example: secateur serve models:/tweets-sentiment@champion --port 8000
    """
    from secateur.serving.server import serve as run

    project, settings = _project_and_settings()
    given = {"host": host, "port": port, "workers": workers}
    settings = settings.model_copy(update={name: value for name, value in given.items() if value is not None})

    def announce(listening: "Listening") -> None:
        only_unwind()
        said = f"{listening.model} ({listening.runtime}) answers at {listening.url}; {listening.url}/docs describes it"
        click.echo(json.dumps(asdict(listening)) if as_json else said)

    run(project, model, settings, announce=announce)
    click.echo("no longer answering", err=True)


def _project_and_settings() -> "tuple[Project | None, ServeSection]":
    from secateur.config.serve import ServeSection
    from secateur.workflow.params import read_config
    from secateur.workflow.project import find_project

    try:
        project = find_project()
    except ProjectError:
        # A folder needs no project; a registered model says that it does when it is looked up.
        return None, ServeSection()
    return project, read_config(project).serve
