"""The Prefect server that a schedule talks to: the one of the settings, or one of its own on this machine."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from secateur.errors import ProjectError
from secateur.files import remove, write_json
from tasks.project import Project
from tasks.results import read_json

HOST = "127.0.0.1"
DEFAULT_PORT = 4200
_RECORD = "prefect-server.json"
_START_SECONDS = 90.0
_STOP_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1


@contextmanager
def serving_prefect(project: Project) -> Iterator[str]:
    """Yield the address of the API, and have every Prefect call in this block and its children use it.

    A server of our own listens on the loopback interface, ends with this process, and is noted in
    ``.secateur/prefect-server.json`` so that ``watch`` finds it.

    Raises:
        ProjectError: the server does not start, or the one of the settings does not answer.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    asked = api_of_settings()
    if asked is not None:
        if not answers(asked):
            raise ProjectError(f"PREFECT_API_URL={asked} does not answer; start that server, or unset it")
        yield asked
        return
    with _server_of(project) as url, temporary_settings({PREFECT_API_URL: url}):
        before = os.environ.get("PREFECT_API_URL")
        os.environ["PREFECT_API_URL"] = url
        try:
            yield url
        finally:
            os.environ.pop("PREFECT_API_URL")
            if before is not None:
                os.environ["PREFECT_API_URL"] = before


@contextmanager
def _server_of(project: Project) -> Iterator[str]:
    """Yield the server that another command of this project started (``ui``), or one of our own."""
    noted = read_json(project.state / _RECORD).get("api")
    if noted is not None and answers(str(noted)):
        yield str(noted)
        return
    with _own_server(project) as url:
        yield url


def find_server(project: Project) -> str:
    """Return the API that a running schedule of this project uses.

    Raises:
        ProjectError: there is none, or it does not answer.
    """
    url = api_of_settings() or read_json(project.state / _RECORD).get("api")
    if url is None or not answers(url):
        raise ProjectError(
            "no Prefect server answers for this project; start `secateur schedule` first, or set PREFECT_API_URL"
            + ("" if url is None else f" (tried {url})")
        )
    return str(url)


def api_of_settings() -> str | None:
    """Return what the environment or Prefect's profile names."""
    from prefect.settings import PREFECT_API_URL

    # Prefect reads its environment once, when it is imported.
    found = os.environ.get("PREFECT_API_URL") or PREFECT_API_URL.value()
    return None if found is None else str(found)


def answers(api: str) -> bool:
    """Tell whether a Prefect API is there."""
    try:
        with urllib.request.urlopen(f"{api.rstrip('/')}/health", timeout=5) as response:  # noqa: S310  # from settings
            return int(response.status) == 200
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)  # it is there, and asks for a key that only Prefect's client knows
    except (OSError, ValueError):
        return False


@contextmanager
def _own_server(project: Project) -> Iterator[str]:
    port = _free_port()
    url, record = f"http://{HOST}:{port}/api", project.state / _RECORD
    log = project.state / "prefect-server.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_UI_API_URL": url},
            start_new_session=True,  # Ctrl-C ends the schedule first, which ends the server
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509  # no threads yet
        )
    try:
        _wait_for(url, server, log)
        write_json(record, {"api": url, "pid": server.pid})
        yield url
    finally:
        remove(record)
        _stop(server)


def _wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ProjectError(f"the Prefect server ended at once; {log} says why")
        if answers(url):
            return
        time.sleep(0.25)
    raise ProjectError(f"the Prefect server does not answer after {_START_SECONDS:.0f} s; {log} says why")


def _stop(server: "subprocess.Popen[bytes]") -> None:
    if server.poll() is not None:
        return
    server.terminate()
    try:
        server.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _end_with_parent() -> None:
    """Have the kernel end the server when the schedule is killed, which leaves no time to do it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _free_port() -> int:
    """Return Prefect's usual port, or a free one when somebody else listens there."""
    for port in (DEFAULT_PORT, 0):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ProjectError(f"no free port on {HOST}")
