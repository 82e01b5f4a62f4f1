"""The Prefect server that we talk to: the one of the settings, or one of our own on this machine."""

import base64
import os
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import secateur
from secateur.errors import ProjectError
from secateur.files import remove, write_json
from secateur.processes.child_server import ChildServer, free_port
from secateur.workflow.prefect_app import HOST, OPEN, origins
from secateur.workflow.project import Project
from secateur.workflow.results import read_json

DEFAULT_PORT = 4200
_RECORD, _KEY = "prefect-server.json", "prefect-server.key"
_PROGRAM = (sys.executable, "-P", "-m", "secateur.workflow.prefect_app")
_STOP_SECONDS = 3.0
_SEND_SECONDS = 5.0
_TRIES = 6
"""Of 5 s each: a busy server may be silent for 15 s; one that is not there refuses at once."""


@dataclass(frozen=True)
class Server:
    """Where an API is.

    Attributes:
        api: its address.
        key: what it asks for; None when Prefect's own settings say it, or nothing does.
    """

    api: str
    key: str | None = field(default=None, repr=False)

    @property
    def page(self) -> str:
        """The address that a browser opens; that of our own server carries the key where no server is sent it."""
        base = self.api.removesuffix("/").removesuffix("/api")
        return base if self.key is None else f"{base}{OPEN}#{self.key}"


@contextmanager
def serving_prefect(project: Project, *, pages: bool = True) -> Iterator[Server]:
    """Yield a server that answers, and have every Prefect call in this block and its children use it.

    A server of our own listens on the loopback interface, asks for a random key, and ends with this process. One with
    pages is noted in ``.secateur/prefect-server.json`` so that other commands of this user find it.

    Args:
        project: whose commands share the server.
        pages: start one with Prefect's pages, schedules and events; without them it starts faster.

    Raises:
        ServerDidNotStart: the message names its log.
        ProjectError: the server of the settings does not answer.
    """
    asked = api_of_settings()
    if asked is not None:
        if not any(_answers(Server(asked)) for _ in range(_TRIES)):
            raise ProjectError(f"PREFECT_API_URL={asked} does not answer; start that server, or unset it")
        yield Server(asked)
        return
    with ExitStack() as stack:
        server = _noted(project) or stack.enter_context(_own_server(project, pages=pages))
        stack.enter_context(using(server))
        yield server


@contextmanager
def using(server: Server) -> Iterator[None]:
    """Have every Prefect call in this block and its children talk to a server."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    values = {"PREFECT_API_URL": server.api}
    settings = {PREFECT_API_URL: server.api}
    if server.key is not None:
        values["PREFECT_API_AUTH_STRING"] = server.key
        settings[PREFECT_API_AUTH_STRING] = server.key
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        with temporary_settings(settings):
            try:
                yield
            finally:
                send_what_is_left()
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def send_what_is_left() -> None:
    """Send records that wait in threads: after the server's end they could only complain, at the end of the process."""
    for module, worker in (("prefect.events.worker", "EventsWorker"), ("prefect.logging.handlers", "APILogWorker")):
        if module in sys.modules:
            getattr(sys.modules[module], worker).drain_all(timeout=_SEND_SECONDS)


def find_server(project: Project) -> Server:
    """Return the server that a running schedule of this project uses.

    Raises:
        ProjectError: there is none, or it does not answer.
    """
    asked = api_of_settings()
    server = _noted(project) if asked is None else Server(asked)
    if server is None or not _answers(server):
        raise ProjectError(
            "no Prefect server answers for this project; start `secateur schedule` first, or set PREFECT_API_URL"
            + ("" if server is None else f" (tried {server.api})")
        )
    return server


def api_of_settings() -> str | None:
    """Return what the environment or Prefect's profile names."""
    from prefect.settings import PREFECT_API_URL

    # Prefect reads its environment once, when it is imported.
    found = os.environ.get("PREFECT_API_URL") or PREFECT_API_URL.value()
    return None if found is None else str(found)


def key_file(project: Project) -> Path:
    """Return where the key of our own server lies while it runs; only its owner can read it."""
    return project.state / _KEY


def _noted(project: Project) -> Server | None:
    """Return the server that another command of this project started, when it answers."""
    api = read_json(project.state / _RECORD).get("api")
    try:
        key = key_file(project).read_text(encoding="utf-8")
    except OSError:
        return None
    server = Server(str(api), key)
    return server if api is not None and _answers(server) else None


def _answers(server: Server) -> bool:
    """Tell whether an API is there; of our own server, whether it is the one that holds the key."""
    path = "health" if server.key is None else "admin/version"
    request = urllib.request.Request(f"{server.api.rstrip('/')}/{path}")  # noqa: S310  # from settings
    if server.key is not None:
        request.add_header("Authorization", f"Basic {base64.b64encode(server.key.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310  # from settings
            return int(response.status) == 200
    except urllib.error.HTTPError as error:
        # It is there, and asks for a key that only Prefect's client knows.
        return server.key is None and error.code in (401, 403)
    except (OSError, ValueError):
        return False


@contextmanager
def _own_server(project: Project, *, pages: bool) -> Iterator[Server]:
    port = free_port(preferred=DEFAULT_PORT if pages else 0)
    server = Server(f"http://{HOST}:{port}/api", f"secateur:{secrets.token_urlsafe(24)}")
    child = ChildServer.start(
        "the Prefect server",
        [*_PROGRAM, str(port), *([] if pages else ["--no-pages"])],
        log=project.state / "prefect-server.log",
        environment=_environment(server, port),
        watches_input=True,
    )
    try:
        child.wait_until(lambda: _answers(server))
        if pages:
            _note(project, server, child.process.pid)
        yield server
    finally:
        if pages:
            remove(project.state / _RECORD)
            remove(key_file(project))
        child.stop(patience_s=_STOP_SECONDS)


def _environment(server: Server, port: int) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if name != "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"
    }  # its log says why it ended
    code = str(Path(secateur.__file__).parents[1])
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(part for part in (code, os.environ.get("PYTHONPATH", "")) if part),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_API_AUTH_STRING": str(server.key),
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins(port)),
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_UI_API_URL": server.api,
    }


def _note(project: Project, server: Server, pid: int) -> None:
    """Tell other commands of this user; nobody else can read the key."""
    path = key_file(project)
    remove(path)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(str(server.key))
    write_json(project.state / _RECORD, {"api": server.api, "pid": pid})
