"""The command line. Errors meant for the user become one line and their exit code."""

import errno
import gc as collector
import io
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from secateur import __version__
from secateur.cli.checkpoints import bench, convert, export, inspect
from secateur.cli.evaluation import evaluate
from secateur.cli.generation import generate
from secateur.cli.init import init
from secateur.cli.operations import retrain, schedule, watch
from secateur.cli.parameters import params
from secateur.cli.prediction import predict
from secateur.cli.promotion import approve, promote, rollback
from secateur.cli.provenance import compare, lineage, sign, verify
from secateur.cli.pruning import prune, sweep
from secateur.cli.registry import models
from secateur.cli.reproduction import reproduce
from secateur.cli.serving import serve, token
from secateur.cli.space import gc
from secateur.cli.ui import ui
from secateur.cli.workflow import plan, run, stage, why
from secateur.cli.workspace import doctor, report
from secateur.errors import SecateurError
from secateur.files import NO_SPACE
from secateur.processes.environment import ENVIRONMENT
from secateur.processes.garbage import SELDOM
from secateur.processes.stopping import Stopping


class _Group(click.Group):
    """Lists the commands in the order in which a newcomer meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
def cli() -> None:
    """Prune language models inside a workflow that can be scheduled, reproduced and trusted.

    Example: secateur run -S prune.budget.macs=0.4
    """


_COMMANDS = (
    init, run, plan, why, stage, sweep, prune, inspect, convert, bench, evaluate, predict, generate, export, models,
    report, params, doctor, gc, retrain, schedule, watch, serve, token, ui,
)  # fmt: skip

for _command in _COMMANDS:
    cli.add_command(_command)

for _command in (approve, promote, rollback, verify, sign, lineage, compare, reproduce):
    models.add_command(_command)


class _Lines(logging.Handler):
    """Prints what was noticed and put right on the way, one line each, once."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if said not in self._told:
            self._told.add(said)
            click.echo(f"secateur: {said}", err=True)


def main() -> None:
    """Entry point of the ``secateur`` command."""
    under_dvc = "DVC_STAGE" in os.environ  # which says itself that its stage did not end
    stopping = Stopping(None, grace_s=0.0) if under_dvc else Stopping(_interrupted(sys.argv[1:]))
    collector.set_threshold(*SELDOM)
    try:
        _main()
    finally:
        collector.freeze()
        if stopping.asked:
            stopping.end()


def _interrupted(arguments: list[str]) -> str:
    """Return what is said last when a signal ends a command."""
    stages = {"run", "sweep", "retrain", "stage"}
    then = "; finished stages are kept, `secateur run` goes on from there" if stages & {*arguments[:1]} else ""
    return f"secateur: interrupted{then}"


def _with_streams() -> None:
    """Give a job without streams empty ones, and let no letter that a terminal lacks end what is done already."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  it stays
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _main() -> None:
    _with_streams()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # A library that says something through the root logger would install a handler there, which prints what all say.
    logging.getLogger().addHandler(logging.NullHandler())
    logging.getLogger("secateur").addHandler(_Lines(logging.WARNING))
    _name_process()
    try:
        code: Any = cli.main(prog_name="secateur", standalone_mode=False)
    except SecateurError as error:
        click.echo(f"secateur: {error}", err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Abort:
        sys.exit(1)  # a question without an answer: the input has ended
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        if error.errno in NO_SPACE:
            said = f"{NO_SPACE[error.errno]}; finished stages are kept, `secateur run` goes on"
        elif error.errno == errno.EROFS:
            said = f"{error.filename}: nothing can be written there, the file system is read-only"
        elif (line := _from_a_server(error)) is not None:
            said = line
        else:
            raise
        click.echo(f"secateur: {said}", err=True)
        sys.exit(SecateurError.exit_code)
    except Exception as error:
        if (line := _from_a_server(error)) is None:
            raise
        click.echo(f"secateur: {line}", err=True)
        sys.exit(SecateurError.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def _from_a_server(error: Exception) -> str | None:
    from secateur.workflow.tracking_server import line_of

    return line_of(error)


def _name_process() -> None:
    """Let ``ps`` and ``top`` call the process by the command's name, where the system has a place for it."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text("secateur", encoding="ascii")
