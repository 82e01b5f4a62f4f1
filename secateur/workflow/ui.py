"""Prefect, MLflow and the report behind one page on the loopback interface."""

import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from secateur.errors import ProjectError
from secateur.report.index import Place, render_index
from secateur.workflow.project import Project

HOST = "127.0.0.1"
_PAGE = Path("reports") / "report.html"
_START_SECONDS = 120.0
_STOP_SECONDS = 15.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Addresses:
    """Where everything is; the index links to the others."""

    index: str
    report: str
    mlflow: str
    prefect: str


@contextmanager
def looking(project: Project, *, port: int) -> Iterator[Addresses]:
    """Start what does not answer yet, serve the index, and end what was started when the block ends.

    Args:
        project: whose runs, registry and report are shown.
        port: of the index page; 0 takes a free one.

    Raises:
        ProjectError: the port is taken, or a server does not start; the message names its log.
    """
    from secateur.workflow.prefect_server import find_server, serving_prefect

    with ExitStack() as stack:
        own = stack.enter_context(_index_server(port))
        mlflow, starting = _mlflow(project, stack)
        try:
            prefect, started = find_server(project), ""
        except ProjectError:
            prefect, started = stack.enter_context(serving_prefect(project)), "started for this page"
        if starting is not None:
            _wait_for(mlflow, starting, project.state / "mlflow-server.log")
        index = f"http://{HOST}:{own.server_address[1]}{own.prefix}"
        addresses = Addresses(index=index, report=f"{index}report", mlflow=mlflow, prefect=prefect.page)
        notes = {
            "prefect": started or "was running",
            "mlflow": "was running" if starting is None else "started for this page",
        }
        own.show(project, addresses, notes)
        thread = threading.Thread(target=own.serve_forever, daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(own.shutdown)
        yield addresses


class _Index(ThreadingHTTPServer):
    """Serves two pages: the index, and the report as it is on disk at that moment."""

    daemon_threads = True
    allow_reuse_address = False  # a port that somebody holds is refused, not shared

    def __init__(self, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        # Nobody else on this machine can guess it: the index links to a page with the key of Prefect's server.
        self.prefix = f"/{secrets.token_urlsafe(24)}/"

    def show(self, project: Project, addresses: Addresses, notes: dict[str, str]) -> None:
        self._project, self._addresses, self._notes = project, addresses, notes

    def pages(self, path: str) -> bytes | None:
        """Return the page at a path, or None."""
        page = self._project.root / _PAGE
        if not secrets.compare_digest(path[: len(self.prefix)].encode(), self.prefix.encode()):
            return None
        asked = path[len(self.prefix) :]
        if asked == "report" and page.is_file():
            return page.read_bytes()
        return self._index(page).encode() if asked == "" else None

    def _index(self, page: Path) -> str:
        where, notes = self._addresses, self._notes
        report = where.report if page.is_file() else None
        places = (
            Place(
                "Report",
                "Dense against every round: scores, times, mistakes, slices, data, gate, lineage.",
                report,
                f"{_PAGE}, read when you open it" if report else "there is none yet; `secateur run` writes it",
            ),
            Place("MLflow", "Registered versions, their metrics, aliases and files.", where.mlflow, notes["mlflow"]),
            Place("Prefect", "Runs, schedules, logs and events.", where.prefect, notes["prefect"]),
        )
        return render_index(self._project.root.name, places)


class _Handler(BaseHTTPRequestHandler):
    server: _Index

    def do_GET(self) -> None:
        """Answer, unless another name than ours was asked for: a foreign page must not read this one."""
        host = self.headers.get("Host", "").rsplit(":", 1)[0]
        if host not in (HOST, "localhost"):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return
        body = self.server.pages(self.path.split("?", 1)[0])
        if body is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name of http.server
        """Say nothing per request."""


@contextmanager
def _index_server(port: int) -> Iterator[_Index]:
    """Take the port before anything is started."""
    try:
        server = _Index(port)
    except OSError as error:
        raise ProjectError(
            f"port {port} of {HOST} is taken ({error.strerror}); ask for another with --port, or leave it out"
        ) from error
    with server:
        yield server


def _mlflow(project: Project, stack: ExitStack) -> "tuple[str, subprocess.Popen[bytes] | None]":
    """Return the address of MLflow, and its process when it had to be started."""
    from secateur.registry.mlflow_store import ModelRegistry, tracking_uri

    if (asked := tracking_uri(project)).startswith(("http://", "https://")):
        return asked, None
    # Opening it puts its addresses right where the project was moved; MLflow's server would not.
    uri = ModelRegistry(project).uri
    port = _free_port()
    log = project.state / "mlflow-server.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        server = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "mlflow", "server", "--host", HOST, "--port", str(port)),
                *("--backend-store-uri", uri, "--workers", "1"),
            ],
            cwd=project.home,
            # Its job runner would start seven more processes, for features that nobody uses here.
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C ends the page first, which ends the server
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509  # the only other thread waits for a signal
        )
    stack.callback(_stop, server)
    return f"http://{HOST}:{port}", server


def _wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ProjectError(f"MLflow ended at once; {log} says why")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310  # our own address
                return
        except OSError:
            time.sleep(0.2)
    raise ProjectError(f"MLflow does not answer after {_START_SECONDS:.0f} s; {log} says why")


def _stop(server: "subprocess.Popen[bytes]") -> None:
    """End a server and the workers that it started, which live in its session."""
    if server.poll() is None:
        server.terminate()
    with suppress(subprocess.TimeoutExpired):
        server.wait(timeout=_STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def _end_with_parent() -> None:
    """Have the kernel end the server when this process is killed, which leaves no time to do it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
