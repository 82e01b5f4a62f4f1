"""All four servers of the team set-up: started in order, watched, ended in reverse."""

import fcntl
import importlib.util
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from deploy.postgres import Postgres
from deploy.processes import HOST, Server, claim_port, http_answers
from secateur.errors import ProjectError
from secateur.files import remove, write_json

BUCKET = "secateur"
RECORD = "servers.json"
_ENVIRONMENT = "environment.sh"
_MODULES = ("psycopg2", "moto", "boto3", "dvc_s3")
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION")
_DOWN_SECONDS = 120.0


@dataclass(frozen=True)
class Ports:
    """Where the servers listen; 0 takes a free port."""

    mlflow: int = 5000
    prefect: int = 4200
    s3: int = 9000


@dataclass(frozen=True)
class Addresses:
    """Where the servers answer.

    Attributes:
        mlflow: for MLFLOW_TRACKING_URI.
        prefect: for PREFECT_API_URL.
        s3: for AWS_ENDPOINT_URL.
        postgres: folder of its socket, as ``psql --host`` takes it.
        data: folder of the databases.
        seconds: from the start to the last answer.
    """

    mlflow: str
    prefect: str
    s3: str
    postgres: str
    data: str
    seconds: float

    def variables(self) -> dict[str, str]:
        """Return what every command of a team member needs; no secret is among it."""
        return {
            "MLFLOW_TRACKING_URI": self.mlflow,
            "PREFECT_API_URL": self.prefect,
            "AWS_ENDPOINT_URL": self.s3,
            # The server here checks no keys, but no client signs a request without one.
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }


class Team:
    """What runs; ``watch`` returns when a server has ended by itself."""

    def __init__(self, addresses: Addresses, servers: list[Server]) -> None:
        """Take what was started."""
        self.addresses, self._servers = addresses, servers

    def watch(self) -> None:
        """Wait.

        Raises:
            ProjectError: a server ended; all others are useless without it.
        """
        while True:
            for server in self._servers:
                if server.ended:
                    raise server.failure("ended")
            time.sleep(1.0)


@contextmanager
def running(folder: Path, ports: Ports) -> Iterator[Team]:
    """Start the servers, and end them when the block ends. Databases and objects stay in ``folder``.

    Args:
        folder: state of the set-up.
        ports: where they listen.

    Raises:
        ProjectError: a package, PostgreSQL or a port is missing, another set-up runs here, or a server does not start.
    """
    started = time.monotonic()
    require_packages()
    folder = folder.resolve()
    with ExitStack() as stack:
        stack.enter_context(_only_one(folder))
        postgres = Postgres(folder)
        free = Ports(**{name: claim_port(port, option=f"--{name}-port") for name, port in asdict(ports).items()})
        addresses = Addresses(
            mlflow=f"http://{HOST}:{free.mlflow}",
            prefect=f"http://{HOST}:{free.prefect}/api",
            s3=f"http://{HOST}:{free.s3}",
            postgres="",
            data=str(postgres.data),
            seconds=0.0,
        )
        servers = _start(stack, folder, postgres, free, addresses)
        addresses = replace(addresses, postgres=str(postgres.socket), seconds=round(time.monotonic() - started, 1))
        _announce(stack, folder, addresses, servers)
        yield Team(addresses, servers)


def end(folder: Path) -> bool:
    """End the set-up that runs with this state, wait until everything has ended, and tell whether there was one.

    Raises:
        ProjectError: it does not end.
    """
    lock = folder / "lock"
    if not lock.is_file():
        return False
    asked, deadline = False, time.monotonic() + _DOWN_SECONDS
    with lock.open("a+", encoding="utf-8") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip()
            else:
                return asked
            # Whoever holds the lock has written its number; a number alone could be somebody else's by now.
            if not asked and holder:
                os.kill(int(holder), signal.SIGTERM)
                asked = True
            if time.monotonic() > deadline:
                raise ProjectError(f"the team set-up (process {holder}) did not end in {_DOWN_SECONDS:.0f} s")
            time.sleep(0.1)


def _start(stack: ExitStack, folder: Path, postgres: Postgres, ports: Ports, addresses: Addresses) -> list[Server]:
    """Start PostgreSQL and S3, then what stands on them; the slow starts go side by side."""
    # Keys of the environment win over the placeholders.
    variables = {**addresses.variables(), **{name: os.environ[name] for name in _KEYS if name in os.environ}}
    store = _python(stack, folder, "S3", ["deploy.object_store", str(ports.s3), str(folder / "s3")])
    database = postgres.start(folder / "logs" / "postgresql.log")
    stack.callback(postgres.remove_socket)
    stack.callback(database.stop)
    database.wait_until(postgres.answers)
    postgres.create_databases("mlflow", "prefect")
    prefect = _python(
        stack,
        folder,
        "Prefect",
        ["prefect", "server", "start", "--host", HOST, "--port", str(ports.prefect)],
        {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": postgres.url("asyncpg", "prefect"),
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_UI_API_URL": addresses.prefect,
        },
    )
    store.wait_until(lambda: http_answers(addresses.s3))
    _create_bucket(variables)
    mlflow = _python(
        stack,
        folder,
        "MLflow",
        [
            *("mlflow", "server", "--host", HOST, "--port", str(ports.mlflow), "--workers", "1"),
            *("--backend-store-uri", postgres.url("psycopg2", "mlflow")),
            *("--artifacts-destination", f"s3://{BUCKET}/mlflow"),
        ],
        # Its job runner would start seven more processes, for features that nobody uses here.
        {**variables, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    mlflow.wait_until(lambda: http_answers(f"{addresses.mlflow}/health"))
    prefect.wait_until(lambda: http_answers(f"{addresses.prefect}/health"))
    return [store, database, prefect, mlflow]


def _python(
    stack: ExitStack, folder: Path, name: str, arguments: list[str], environment: dict[str, str] | None = None
) -> Server:
    server = Server(
        name,
        [sys.executable, "-m", *arguments],
        log=folder / "logs" / f"{name.lower()}.log",
        environment=environment,
    )
    stack.callback(server.stop)
    return server


def _create_bucket(variables: dict[str, str]) -> None:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    if BUCKET not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=BUCKET)


def _announce(stack: ExitStack, folder: Path, addresses: Addresses, servers: list[Server]) -> None:
    """Write the addresses for people and scripts; both files go with the servers."""
    lines = [
        # A key of the user's own stays what it is.
        f'export {name}="${{{name}:-{value}}}"' if name in _KEYS else f"export {name}={shlex.quote(value)}"
        for name, value in addresses.variables().items()
    ]
    file = folder / _ENVIRONMENT
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    stack.callback(remove, file)
    pids = {server.name: server.pid for server in servers}
    write_json(folder / RECORD, {**asdict(addresses), "variables": addresses.variables(), "pids": pids})
    stack.callback(remove, folder / RECORD)


def require_packages() -> None:
    """Do nothing where the extra ``team`` is installed.

    Raises:
        ProjectError: it is not.
    """
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise ProjectError(
            f"the team set-up needs the extra `team`, but {', '.join(missing)} cannot be imported; "
            "pip install -c constraints.txt -e '.[team]', which `make team` does"
        )


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ProjectError(f"a team set-up runs with {folder} already; `make team-down` ends it") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
