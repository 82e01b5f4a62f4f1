"""What every test gets: no network, temporary homes, one Prefect server, one finished tiny project."""

import fcntl
import gc
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")

os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    DO_NOT_TRACK="1",
    MLFLOW_DISABLE_TELEMETRY="true",
    DVC_NO_ANALYTICS="1",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    # Prefect's handler at the root writes to the standard error of the test that first called it, closed by then.
    PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="CRITICAL",
    TOKENIZERS_PARALLELISM="false",
)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # OMP_NUM_THREADS=4 shows what depends on the order of sums

# A process of the tests ends up with all libraries there are: to walk through them takes half a second each time.
gc.set_threshold(100_000, 50, 100)

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection but loopback ones."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in _LOOPBACK:
            raise OSError(f"network is blocked in tests: {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session", autouse=True)
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep Prefect, Hugging Face and MLflow out of the user's home."""
    home = tmp_path_factory.mktemp("homes")
    before = dict(os.environ)
    os.environ.update(PREFECT_HOME=str(home / "prefect"), HF_HOME=str(home / "hf"))
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        os.environ.pop(name, None)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory, _homes: None) -> Iterator[str]:
    """Run one server for all flow runs: one for each would cost 10 s each time."""
    from secateur.workflow.prefect_server import send_what_is_left

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (tmp_path_factory.mktemp("prefect") / "server.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"],
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    url = f"http://127.0.0.1:{port}/api"
    _wait_for(f"{url}/health", server)
    os.environ["PREFECT_API_URL"] = url
    yield url
    send_what_is_left()
    os.environ.pop("PREFECT_API_URL")
    server.terminate()
    server.wait(timeout=20)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):  # five minutes: on a busy machine a fresh database alone takes one
        assert server.poll() is None, "the Prefect server ended"
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.25)
    raise AssertionError("the Prefect server did not start")


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Path:
    """A tiny project after its first run. Treat it as read-only; ``project`` is a copy to play with."""
    from tests.tiny import git, make_project, secateur

    base = tmp_path_factory.getbasetemp()
    # Making it costs a minute: the first worker does, and every worker takes a copy.
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    made, root = shared / "made" / "project", base / "finished" / "project"
    with (shared / "made.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            make_project(made)
            secateur(made, "run", cold=True)
            git(made, "add", "-A")
            git(made, "commit", "-qm", "first run")
        shutil.copytree(made, root, symlinks=True)
    return root


@pytest.fixture
def project(tmp_path: Path, finished_project: Path) -> Path:
    """A copy of the finished project."""
    root = tmp_path / "project"
    shutil.copytree(finished_project, root, symlinks=True)
    return root
