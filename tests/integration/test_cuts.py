"""A slice of ``python -m tests.cuts_in_network``: a registry that ends in the middle of a command is one line."""

import http.server
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from secateur.workflow.tracking_server import line_of
from tests.cutting import Cut, Proxy
from tests.tiny import REPOSITORY, git, secateur

_FAST = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
}


class _Empty(http.server.BaseHTTPRequestHandler):
    """An MLflow that holds nothing."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Proxy(("127.0.0.1", server.server_port)) as made:
            yield made
        server.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    git(tmp_path, "init", "-q")
    return tmp_path


def test_a_registry_that_ends_in_the_middle_is_one_line_in_bounded_time(proxy: Proxy, folder: Path) -> None:
    variables = {**_FAST, "PYTHONPATH": str(REPOSITORY), "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{proxy.port}"}
    before = proxy.passed
    assert secateur(folder, "models", "list", env=variables).returncode == 0
    whole = proxy.passed - before
    for how in get_args(Cut):
        proxy.disturb(how, after=whole - 100)  # in the middle of the last answer
        began = time.monotonic()
        done = secateur(folder, "models", "list", check=False, env=variables)
        seconds = time.monotonic() - began
        proxy.heal()
        if how == "cut":
            assert done.returncode == 0, "it is asked once more"
            continue
        assert done.returncode == 2, how
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith(f"secateur: the registry http://127.0.0.1:{proxy.port} did not do what it was")
        assert seconds < 20
    assert secateur(folder, "models", "list", env=variables).returncode == 0


def test_a_proxy_passes_everything_until_it_cuts(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "to"))
    listener.listen()
    with listener, Proxy(tmp_path / "to", at=tmp_path / "at") as proxy:
        for how in (None, *get_args(Cut)):
            if how is not None:
                proxy.disturb(how, after=50_000)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(tmp_path / "at"))
                server, _ = listener.accept()
                threading.Thread(target=_send, args=(client, 100_000), daemon=True).start()
                server.settimeout(0.5)
                received, ended = _received(server)
                server.close()
            assert (received == 100_000) == (how is None)
            assert received <= 50_000 or how is None
            assert (ended == "silence") == (how == "stall"), how
            proxy.heal()


def _send(to: socket.socket, count: int) -> None:
    try:
        to.sendall(bytes(count))
        to.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def _received(source: socket.socket) -> tuple[int, str]:
    count = 0
    try:
        while part := source.recv(4096):
            count += len(part)
    except TimeoutError:
        return count, "silence"
    except OSError:
        return count, "reset"
    return count, "end"


def test_the_line_about_a_server_names_no_secret_and_other_errors_stay_what_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow.exceptions import MlflowException

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hidden@mlflow.example")
    said = line_of(MlflowException("API request to http://me:hidden@mlflow.example/api failed\nwith [SQL: SELECT 1]"))
    assert said is not None
    assert said.startswith(
        "the registry http://mlflow.example did not do what it was asked for: API request to http://ml"
    )
    assert "hidden" not in said
    assert "SELECT" not in said
    assert len(said.splitlines()) == 1
    assert line_of(ValueError("ours")) is None
