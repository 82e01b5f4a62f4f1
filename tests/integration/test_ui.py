"""``secateur ui``: one page before real servers, which end with it."""

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from secateur.errors import ProjectError
from secateur.serving.ui import looking
from secateur.workflow.project import Project
from tests.tiny import environment


def _get(url: str, **headers: str) -> tuple[int, str, str]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.read().decode(), response.headers["Content-Security-Policy"] or ""
    except urllib.error.HTTPError as error:
        return error.code, "", ""


@pytest.fixture
def elsewhere(tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A workspace whose servers run already."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9/")
    (tmp_path / "reports").mkdir()
    return Project(tmp_path)


def test_the_index_links_to_what_is_there_and_the_report_is_read_when_it_is_opened(elsewhere, prefect_server):
    with looking(elsewhere, port=0) as addresses:
        assert addresses.prefect == prefect_server.removesuffix("/api")
        status, index, policy = _get(addresses.index)
        assert status == 200
        assert policy.startswith("default-src 'none'")
        assert f'href="{addresses.mlflow}"' in index
        assert "there is none yet; `secateur run` writes it" in index
        assert _get(addresses.report)[0] == 404
        (elsewhere.root / "reports" / "report.html").write_text("the page", encoding="utf-8")
        assert _get(addresses.report)[:2] == (200, "the page")
        assert f'href="{addresses.report}"' in _get(addresses.index)[1]
        assert _get(f"{addresses.index}../params.yaml")[0] == 404
        assert _get(addresses.index, Host="evil.example")[0] == 421
    with pytest.raises(OSError, match="refused"):
        _get(addresses.index)


def test_a_port_that_is_taken_is_refused_before_anything_starts(elsewhere):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ProjectError, match=f"port {port} of 127.0.0.1 is taken .* another with --port"):
            looking(elsewhere, port=port).__enter__()


def test_sigterm_ends_the_servers_that_were_started_and_only_those(finished_project, prefect_server):
    process = subprocess.Popen(
        [sys.executable, "-m", "secateur.cli", "ui", "--json"],
        cwd=finished_project,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        addresses = json.loads(process.stdout.readline())
        assert "secateur report" in _get(addresses["report"])[1]
        assert _get(addresses["mlflow"])[0] == 200
        assert _get(addresses["mlflow"], Host="evil.example")[0] == 403, "MLflow checks names as well"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 1, "MLflow; Prefect was running"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
    with pytest.raises(OSError, match="refused"):
        _get(addresses["mlflow"])
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert _get(f"{prefect_server}/health")[0] == 200
