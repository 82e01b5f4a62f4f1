"""Prefect, MLflow and the report behind one page on the loopback interface."""

import os
import secrets
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from secateur.errors import ProjectError
from secateur.processes.child_server import HOST, ChildServer, free_port
from secateur.report.index import Place, render_index
from secateur.workflow.project import Project

_PAGE = Path("reports") / "report.html"
_STOP_SECONDS = 15.0


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
            starting.wait_until(lambda: _answers(mlflow))
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


def _mlflow(project: Project, stack: ExitStack) -> tuple[str, ChildServer | None]:
    """Return the address of MLflow, and its server when it had to be started."""
    from secateur.registry.mlflow_store import ModelRegistry, tracking_uri

    if (asked := tracking_uri(project)).startswith(("http://", "https://")):
        return asked, None
    # Opening it puts its addresses right where the project was moved; MLflow's server would not.
    uri = ModelRegistry(project).uri
    port = free_port()
    server = ChildServer.start(
        "MLflow",
        [
            *(sys.executable, "-P", "-m", "mlflow", "server", "--host", HOST, "--port", str(port)),
            *("--backend-store-uri", uri, "--workers", "1"),
        ],
        log=project.state / "mlflow-server.log",
        folder=project.home,
        # Its job runner would start seven more processes, for features that nobody uses here.
        environment={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    )
    stack.callback(server.stop, patience_s=_STOP_SECONDS)
    return f"http://{HOST}:{port}", server


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310  # our own address
            return True
    except OSError:
        return False
