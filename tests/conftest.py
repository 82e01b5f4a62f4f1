"""What every test gets: no network, temporary homes, one Prefect server, one finished tiny project."""

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

from secateur.processes.child_server import free_port
from tests import warm
from tests.shared import held, join, once

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")

os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    DO_NOT_TRACK="1",
    MLFLOW_DISABLE_TELEMETRY="true",
    DVC_NO_ANALYTICS="1",
    ORT_DISABLE_TELEMETRY="1",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_SERVER_EPHEMERAL_ENABLED="false",  # Prefect starts no server unasked, which would outlive the worker
    # Prefect's handler at the root writes to the standard error of the test that first called it, closed by then.
    PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="CRITICAL",
    TOKENIZERS_PARALLELISM="false",
)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # OMP_NUM_THREADS=4 shows what depends on the order of sums

# A process of the tests ends up with all libraries there are: to walk through them takes a second each time.
gc.set_threshold(100_000, 50, 100)

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs an accelerator where there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=f"needs a GPU: torch {torch.__version__} finds none"))


def pytest_collection_finish() -> None:
    """Let the collector walk through nothing that was imported before the first test: timing asks for it often."""
    gc.collect()
    gc.freeze()


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
    base = tmp_path_factory.getbasetemp()
    join((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared")
    before = dict(os.environ)
    os.environ.update(PREFECT_HOME=str(home / "prefect"), HF_HOME=str(home / "hf"))
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        os.environ.pop(name, None)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def prefect_server(_homes: None) -> Iterator[str]:
    """Run one server for all flow runs: one for each would cost 10 s each time."""
    from prefect.context import refresh_global_settings_context

    from secateur.workflow.prefect_server import send_what_is_left

    os.environ["PREFECT_API_URL"] = url = once("prefect", _start_prefect)
    refresh_global_settings_context()  # read when it was imported, before there was a server
    yield url
    send_what_is_left()
    os.environ.pop("PREFECT_API_URL")
    refresh_global_settings_context()


def _start_prefect(folder: Path) -> str:
    """Start the server of the package, which ends with its input: no key, and everything that Prefect has."""
    port = free_port()
    with open(held(), "rb") as pipe, (folder / "server.log").open("w") as log:  # noqa: PTH123  # a descriptor
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "secateur.workflow.prefect_app", str(port)],
            stdin=pipe,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}/api"
    _wait_for(f"{url}/health", server)
    return url


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):  # five minutes: on a busy machine a fresh database alone takes one
        assert server.poll() is None, "the Prefect server ended"
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.25)
    raise AssertionError("the Prefect server did not start")


@pytest.fixture
def forked_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let forks be the fresh processes that this process starts to see whether a model loads."""
    monkeypatch.setattr(sys, "executable", warm.python())


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Path:
    """A tiny project after its first run. Treat it as read-only; ``project`` is a copy to play with."""
    root = tmp_path_factory.getbasetemp() / "finished" / "project"
    shutil.copytree(once("finished", _finish_project), root, symlinks=True)
    return root


def _finish_project(folder: Path) -> str:
    from tests.tiny import git, make_project, secateur

    root = make_project(folder / "project")
    secateur(root, "run", cold=True)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first run")
    return str(root)


@pytest.fixture
def project(tmp_path: Path, finished_project: Path) -> Path:
    """A copy of the finished project."""
    root = tmp_path / "project"
    shutil.copytree(finished_project, root, symlinks=True)
    return root
