"""``serve``: a model behind HTTP; ``token``: who may ask it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from secateur.errors import ProjectError
from secateur.processes.stopping import only_unwind

if TYPE_CHECKING:
    from secateur.config.serve import ServeSection
    from secateur.serving.server import Listening
    from secateur.workflow.project import Project


_FILE = click.Path(dir_okay=False, resolve_path=True)


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--host", help="Address to listen on instead of serve.host.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port instead of serve.port; 0 takes a free one.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes instead of serve.workers.")
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A name under which clients ask, besides localhost and --host.",
)
@click.option(
    "--tokens",
    type=_FILE,
    envvar="SECATEUR_SERVE_TOKENS",
    show_envvar=True,
    help="Ask for one of these bearer tokens; `secateur token` makes them.",
)
@click.option("--audit-log", type=_FILE, help="Write a line per request: who, when, route, status; no text.")
@click.option(
    "--live",
    is_flag=True,
    default=None,
    help="Compare the traffic with the training rows, in /metrics and reports/live.json; no text is kept.",
)
@click.option(
    "--shadow", metavar="MODEL", help="With --live: also ask models:/name@challenger; count where it disagrees."
)
@click.option("--certificate", type=_FILE, help="Speak TLS: the certificate and its chain, PEM.")
@click.option("--private-key", type=_FILE, help="The key of --certificate, where it has a file of its own.")
@click.option("--json", "as_json", is_flag=True, help="Print where it listens as JSON.")
def serve(model: str, as_json: bool, **given: "int | str | bool | tuple[str, ...] | None") -> None:
    """Answer HTTP requests with a model.

    MODEL is models:/name@alias, which is followed: a promotion is taken over without a failed request. A version or a
    folder stays what it is. /predict of a classifier, /generate of a generator, /embed of an embedding model,
    /health, /metrics, /model; /docs describes them. SIGTERM finishes open requests.

    Example: secateur serve models:/tweets-sentiment@champion --port 8000
    """
    from secateur.serving.server import serve as run

    project, settings = _project_and_settings()
    # An empty tuple is no name at all; the names of params.yaml stay.
    settings = settings.model_copy(update={name: value for name, value in given.items() if value not in (None, ())})

    def announce(listening: "Listening") -> None:
        only_unwind()
        said = f"{listening.model} ({listening.runtime}) answers at {listening.url}; {listening.url}/docs describes it"
        click.echo(json.dumps(asdict(listening)) if as_json else said)

    run(project, model, settings, announce=announce)
    click.echo("no longer answering", err=True)


@click.command()
@click.argument("name")
@click.option(
    "--file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Gets a line with the digest of the token; made where there is none.",
)
@click.option(
    "--rate",
    "per_s",
    type=click.FloatRange(min=0.0, min_open=True),
    help="Requests per second with this token; else serve.rate_per_s.",
)
def token(name: str, file: Path, per_s: float | None) -> None:
    """Make a token for `serve --tokens`, and print it once.

    The file keeps its digest. To revoke it, remove its line: a server that runs reads the file again.

    Example: secateur token reporting --file tokens.txt --rate 20
    """
    from secateur.serving.tokens import add_token, new_token

    secret, made = new_token(name, per_s=per_s)
    add_token(file, made)
    click.echo(secret)
    click.echo(f"{file} has its digest; it is shown this once, send it as `Authorization: Bearer ...`", err=True)


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
