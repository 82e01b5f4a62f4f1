"""The Prefect server that we start: it answers its own pages and whoever holds its key; a run goes on without it."""

import base64
import json
import shutil
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import flows.prefect_server as prefect_server_module
from flows.prefect_app import OPEN
from flows.prefect_server import Server, find_server, key_file, serving_prefect
from flows.watch import send_event
from secateur.errors import ProjectError
from tasks.project import Project
from tests.tiny import actions


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Server]]:
    """A server of our own, with pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        project = Project(tmp_path_factory.mktemp("own"))
        with serving_prefect(project) as server:
            yield project, server


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
        [sys.executable, "-c", "from flows.prefect_app import _end_with_input as wait\nwait()"], stdin=subprocess.PIPE
    )
    assert server.stdin is not None
    server.stdin.close()
    assert server.wait(timeout=30) == -15


@pytest.mark.parametrize("ends", ["at once", "never answers"])
def test_a_run_goes_on_without_a_server_that_does_not_start(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ends: str
) -> None:
    """The stages are called plainly, under the same keys, and leave the same bytes."""
    from click.testing import CliRunner

    from flows.cli import cli

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(prefect_server_module, "_START_SECONDS", 0.0 if ends == "never answers" else 60.0)
    program = "import time; time.sleep(60)" if ends == "never answers" else "raise SystemExit(1)"
    real = subprocess.Popen
    monkeypatch.setattr(
        prefect_server_module.subprocess,
        "Popen",
        lambda command, **options: real([sys.executable, "-c", program], **options),
    )
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
