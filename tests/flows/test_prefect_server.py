"""The Prefect server that we start: it answers its own pages and whoever holds its key; a run goes on without it."""

import base64
import json
import os
import shutil
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import secateur.workflow.prefect_server as prefect_server_module
from secateur.errors import ProjectError
from secateur.processes import child_server
from secateur.scheduling.watch import send_event
from secateur.workflow.prefect_app import OPEN
from secateur.workflow.prefect_server import Server, _own_server, find_server, key_file
from secateur.workflow.project import Project
from tests.browser import CHROMIUM, text_of
from tests.tiny import actions


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Server]]:
    """A server of our own, with pages, as another command finds it."""
    project = Project(tmp_path_factory.mktemp("own"))
    with _own_server(project, pages=True) as server:
        yield project, server


@pytest.fixture
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither the environment nor Prefect, which may have read it before, names a server."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        yield


def _ask(server: Server, path: str, *, key: bool = True, body: bytes | None = None, **headers: str) -> int:
    base = server.api if not path.startswith("!") else server.api.removesuffix("/api")
    request = urllib.request.Request(base + path.removeprefix("!"), data=body, headers=headers)
    if key:
        request.add_header("Authorization", "Basic " + base64.b64encode(str(server.key).encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_it_answers_whoever_holds_its_key(own: tuple[Project, Server]) -> None:
    _, server = own
    assert _ask(server, "/admin/version") == 200
    assert _ask(server, "/admin/version", key=False) == 401
    assert str(server.key) not in repr(server)


@pytest.mark.parametrize("path", ["/admin/version", "!/", f"!{OPEN}", "/health"])
@pytest.mark.parametrize(
    "foreign",
    [{"Host": "evil.example"}, {"Host": "evil.example:4200"}, {"Origin": "http://evil.example"}, {"Origin": "null"}],
)
def test_a_foreign_page_or_name_gets_nothing(own: tuple[Project, Server], path: str, foreign: dict[str, str]) -> None:
    assert _ask(own[1], path, **foreign) == 421


def test_its_own_page_may_ask_and_needs_a_csrf_token_to_change_anything(own: tuple[Project, Server]) -> None:
    _, server = own
    origin = server.api.removesuffix("/api")
    assert _ask(server, "/admin/version", Origin=origin) == 200
    json_body = {"Content-Type": "application/json"}
    assert _ask(server, "/flow_runs/filter", body=b"{}", Origin=origin, **json_body) == 403
    assert server.page == f"{origin}{OPEN}#{server.key}"
    assert _ask(server, f"!{OPEN}", key=False) == 200


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_a_browser_gets_in_by_the_address_with_the_key_alone(own: tuple[Project, Server], tmp_path: Path) -> None:
    _, server = own
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    assert "Event Feed" in text_of(server.page, folder=tmp_path / "with")
    refused = text_of(server.api.removesuffix("/api"), folder=tmp_path / "without")
    assert "Event Feed" not in refused
    assert "Login" in refused


@pytest.mark.usefixtures("_nothing_set")
def test_only_its_user_can_read_the_key_and_other_commands_find_it(own: tuple[Project, Server]) -> None:
    project, server = own
    assert stat.S_IMODE(key_file(project).stat().st_mode) == 0o600
    assert find_server(project) == server
    send_event(server, event="secateur.data-changed", resource="secateur.project.x", change="a change")
    key_file(project).write_text("another key")
    try:
        with pytest.raises(ProjectError, match="no Prefect server answers"):
            find_server(project)
    finally:
        key_file(project).write_text(str(server.key))


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """Also with one that had no time to end it: its input closes."""
    server = subprocess.Popen(
        [sys.executable, "-c", "from secateur.workflow.prefect_app import _end_with_input as wait\nwait()"],
        stdin=subprocess.PIPE,
    )
    assert server.stdin is not None
    server.stdin.close()
    assert server.wait(timeout=30) == -15


@pytest.mark.usefixtures("_nothing_set")
@pytest.mark.parametrize("ends", ["at once", "never answers"])
def test_a_run_goes_on_without_a_server_that_does_not_start(
    project: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """The stages are called plainly, under the same keys, and leave the same bytes."""
    from click.testing import CliRunner

    from secateur.cli import cli

    monkeypatch.setattr(child_server, "_START_SECONDS", 0.0 if ends == "never answers" else 60.0)
    program = "exec sleep 60" if ends == "never answers" else "exit 1"
    monkeypatch.setattr(prefect_server_module, "_PROGRAM", ("sh", "-c", program))
    lock = (project / "dvc.lock").read_bytes()
    (project / "dvc.lock").unlink()
    shutil.rmtree(project / "models" / "r1")
    monkeypatch.chdir(project)
    result = CliRunner().invoke(cli, ["run", "--json"], catch_exceptions=False)
    assert "the Prefect server " in result.stderr
    assert "; the stages run without Prefect's record of them" in result.stderr
    done = {entry["stage"]: entry["action"] for entry in json.loads(result.stdout)["stages"]}
    assert done["prune@r1"] == "restored"
    assert (project / "dvc.lock").read_bytes() == lock
    monkeypatch.undo()
    assert set(actions(project).values()) == {"cached"}


_LATE = """
import io, logging, sys
real, sys.stderr = sys.stderr, io.StringIO()
from prefect.logging.configuration import setup_logging
setup_logging()
sys.stderr.close()
sys.stderr = real
logging.getLogger("some.library").warning("said after the stream was closed")
"""


def test_prefect_prints_nothing_to_a_stream_that_was_closed() -> None:
    """As at the end of a command, or in a test: "I/O operation on closed file" with a page of traceback."""
    from secateur.processes.environment import ENVIRONMENT

    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_LOGGING")}
    command = [sys.executable, "-c", _LATE]
    done = subprocess.run(command, check=True, env=inherited | ENVIRONMENT, capture_output=True, text=True)
    assert done.stderr == ""
