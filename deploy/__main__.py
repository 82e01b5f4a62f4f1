"""``python -m deploy up`` and ``python -m deploy down``, which ``make team`` and ``make team-down`` call."""

import json
import signal
from dataclasses import asdict
from pathlib import Path

import click

from deploy.services import Ports, end, running
from secateur.errors import SecateurError

_FOLDER = Path(".secateur") / "team"
_PORT = click.IntRange(0, 65535)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """The services that a team shares, on one machine: MLflow and Prefect on PostgreSQL, artifacts and data on S3."""


@main.command()
@click.option("--folder", type=click.Path(path_type=Path), default=_FOLDER, help="State: databases, objects, logs.")
@click.option("--mlflow-port", type=_PORT, default=Ports.mlflow, help="0 takes a free one, as for the others.")
@click.option("--prefect-port", type=_PORT, default=Ports.prefect)
@click.option("--s3-port", type=_PORT, default=Ports.s3)
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as JSON.")
def up(folder: Path, mlflow_port: int, prefect_port: int, s3_port: int, as_json: bool) -> None:
    """Start the servers on 127.0.0.1, and end them on Ctrl-C or SIGTERM. Databases and objects stay.

    Example: python -m deploy up --s3-port 0
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        with running(folder, Ports(mlflow=mlflow_port, prefect=prefect_port, s3=s3_port)) as team:
            addresses = team.addresses
            if as_json:
                click.echo(json.dumps({**asdict(addresses), "variables": addresses.variables()}))
            else:
                for name, value in asdict(addresses).items():
                    click.echo(f"{name:<9} {value}")
                click.echo(f"in other terminals: source {folder}/environment.sh\nCtrl-C or `make team-down` ends them")
            team.watch()
    except KeyboardInterrupt:
        click.echo("ended; databases and objects are kept", err=True)


@main.command()
@click.option("--folder", type=click.Path(path_type=Path), default=_FOLDER, help="As it was given to ``up``.")
def down(folder: Path) -> None:
    """End the servers that ``up`` started, and wait for it.

    Example: python -m deploy down
    """
    click.echo("ended" if end(folder) else "no team set-up runs here")


def _interrupt(*_: object) -> None:
    """Leave the blocks that end the servers; a second signal must not leave them early."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        main()
    except SecateurError as error:
        click.echo(f"team: {' '.join(str(error).split())}", err=True)
        raise SystemExit(error.exit_code) from None
