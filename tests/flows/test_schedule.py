"""The schedule: what is refused before anything starts, and events that arrive. Its life is in schedule_by_hand."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner
from prefect.server.schemas.schedules import CronSchedule

from secateur.cli import cli
from secateur.errors import ConfigError, ProjectError
from secateur.scheduling.schedule import (
    DRIFTED,
    EVENT,
    deployment_name,
    one_schedule,
    parse_schedule,
    resource_id,
    retrain_flow,
)
from secateur.scheduling.watch import send_event, watch
from secateur.workflow.full_form import module_of
from secateur.workflow.prefect_server import Server
from secateur.workflow.project import Project
from tests.integration.in_process import refused
from tests.tiny import REPOSITORY, write_rows
from tests.tiny_live import write_live


@pytest.mark.parametrize("cron", ["every day", "* * * *", "61 * * * *", "0 0 3 * * *", "* * * * * * * *", ""])
def test_a_malformed_cron_is_refused_before_anything_starts(project: Path, cron: str) -> None:
    error = refused(project, "schedule", "--cron", cron)
    assert f"--cron {cron!r} is not a cron expression; five fields" in str(error)
    assert not (project / ".secateur/prefect-server.log").exists()


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match="--timezone Mars/Olympus is not known; try UTC or Europe/Berlin"):
        parse_schedule(cron="0 3 * * *", every=None, timezone="Mars/Olympus")
    for name in ("", "localtime", "../UTC", "/etc/localtime"):
        with pytest.raises(ConfigError, match="is not known; try UTC or Europe/Berlin"):
            parse_schedule(cron="0 3 * * *", every=None, timezone=name)
    with pytest.raises(ConfigError, match="--timezone Europe/Berlin belongs to --cron"):
        parse_schedule(cron=None, every=timedelta(hours=1), timezone="Europe/Berlin")


def test_a_day_that_never_comes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--cron '0 0 31 2 \*' names a day that never comes"):
        parse_schedule(cron="0 0 31 2 *", every=None, timezone="UTC")
    assert parse_schedule(cron="0 0 29 2 *", every=None, timezone="UTC").cron == "0 0 29 2 *"


def test_an_hour_that_comes_twice_or_not_at_all_is_one_run() -> None:
    """In Berlin 2:30 comes twice on 25 October 2026 and not at all on 29 March; Prefect counts, we rely on it."""
    when = CronSchedule(cron="30 2 * * *", timezone="Europe/Berlin")
    for month, day in ((10, 24), (3, 28)):
        due = asyncio.run(when.get_dates(n=3, start=datetime(2026, month, day, tzinfo=UTC)))
        assert len({date.date() for date in due}) == len({date.timestamp() for date in due}) == 3


def test_the_clock_is_read() -> None:
    made = parse_schedule(cron="0 3 * * *", every=None, timezone="Europe/Berlin")
    assert (made.cron, made.timezone) == ("0 3 * * *", "Europe/Berlin")
    assert parse_schedule(cron=None, every=timedelta(minutes=10), timezone="UTC").interval == timedelta(minutes=10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name one of --cron and --every"),
        (["--cron", "0 3 * * *", "--every", "1h"], "name one of --cron and --every"),
        (["--every", "10"], "'10' is no duration; write a whole number and a unit"),
        (["--every", "99999999999d"], "99999999999d is longer than a hundred years; write 36500d or less"),
    ],
)
def test_the_clock_must_be_named_once(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(cli, ["schedule", *arguments])
    assert result.exit_code == click.UsageError.exit_code
    assert message in result.output


def test_one_schedule_per_project(tmp_path: Path) -> None:
    project = Project(tmp_path)
    with one_schedule(project), pytest.raises(ProjectError, match="has a schedule already"), one_schedule(project):
        pass
    with one_schedule(project):
        pass


def test_projects_have_their_own_names(tmp_path: Path) -> None:
    one, other = Project(tmp_path / "a" / "tweets"), Project(tmp_path / "b" / "tweets")
    assert deployment_name(one) != deployment_name(other)
    assert deployment_name(one).startswith("tweets-")
    assert resource_id(one) == f"secateur.project.{deployment_name(one)}"


def test_watching_needs_a_server(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        error = refused(project, "watch")
    assert "no Prefect server answers for this project; start `secateur schedule` first" in str(error)


def test_a_change_is_told_once_and_kept_until_it_could_be_sent(project: Path) -> None:
    sent: list[str] = []
    told: list[str] = []

    def look(emit: Any = sent.append, rounds: int = 1) -> None:
        watch(Project(project), every_s=0.0, emit=emit, told=told.append, rounds=rounds)

    look(rounds=3)
    assert sent == []
    write_rows(project / "rows.csv", 170)

    def refuse(_: str) -> None:
        raise ProjectError("the server is away")

    look(refuse, rounds=3)
    assert (sent, told) == ([], ["the server is away"])
    look(rounds=3)
    look()
    assert len(sent) == 1
    assert sent[0].startswith("rows.csv is sha256 ")
    write_rows(project / "rows.csv", 180)
    look()
    assert len(sent) == 2


def test_drifted_traffic_is_told_once_for_as_long_as_it_lasts(project: Path) -> None:
    changes: list[str] = []
    sent: list[str] = []
    told: list[str] = []

    def look(psi: float | None, emit: Any = sent.append) -> None:
        if psi is not None:
            write_live(project, psi=psi)
        watch(Project(project), every_s=0.0, emit=changes.append, told=told.append, drifted=emit, rounds=2)

    def refuse(_: str) -> None:
        raise ProjectError("the server is away")

    look(None)
    look(0.1)
    look(0.4, refuse)
    assert (sent, told) == ([], ["the server is away"])
    look(0.4)
    look(0.5)
    assert sent == [
        "1000 texts that tiny version 3 was asked about are not like its training rows: label shares (PSI 0.40)"
    ]
    look(0.1)
    look(0.4)
    assert (len(sent), changes) == (2, []), "a drift that comes back is another one"


def test_a_source_that_is_being_replaced_is_waited_for(project: Path) -> None:
    told: list[str] = []
    (project / "rows.csv").rename(project / "away.csv")
    watch(Project(project), every_s=0.0, emit=lambda _: None, told=told.append, rounds=3)
    assert len(told) == 1
    assert "there is no file 'rows.csv'" in told[0]


def test_an_event_arrives_at_a_real_server(prefect_server: str) -> None:
    name = f"secateur.project.test-{time.time_ns()}"
    send_event(Server(prefect_server), event=EVENT, resource=name, change="rows.csv is sha256 0123")
    body = json.dumps({"filter": {"resource": {"id": [name]}}, "limit": 5}).encode()
    for _ in range(100):
        request = urllib.request.Request(
            f"{prefect_server}/events/filter", body, {"content-type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=5) as response:
            found = json.load(response)["events"]
        if found:
            break
        time.sleep(0.1)
    assert [(event["event"], event["payload"]) for event in found] == [(EVENT, {"change": "rows.csv is sha256 0123"})]


def test_an_event_that_nobody_takes_is_an_error() -> None:
    with pytest.raises(ProjectError, match=r"http://127.0.0.1:9/api does not take the event: ConnectError"):
        send_event(Server("http://127.0.0.1:9/api"), event=EVENT, resource="secateur.project.x", change="")


def test_nobody_can_ask_for_a_run_of_another_folder(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server hands parameters from whoever asks to the run; the folder is not among them."""
    assert list(retrain_flow.parameters.properties) == ["cause"]
    ran: list[Path] = []

    def run(found: Project, **_: Any) -> Any:
        ran.append(found.root)
        raise ProjectError("far enough")

    monkeypatch.setattr(module_of(project, "flows", "retrain"), "retrain", run)
    monkeypatch.setenv("SECATEUR_ROOT", str(project))
    monkeypatch.chdir(tmp_path)
    assert retrain_flow.fn(cause="a test").is_failed()
    monkeypatch.delenv("SECATEUR_ROOT")
    monkeypatch.chdir(project / "reports")
    retrain_flow.fn(cause="a test")
    assert ran == [project, project]


def test_the_deployments_for_teams_name_what_is_there() -> None:
    values = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())
    for entry in values["deployments"]:
        file, _, name = entry["entrypoint"].partition(":")
        assert (REPOSITORY / file).is_file()
        assert name == retrain_flow.fn.__name__
        assert set(entry["parameters"]) == {"cause"}
    expected = [trigger["expect"] for entry in values["deployments"][1:] for trigger in entry["triggers"]]
    assert expected == [[EVENT], [DRIFTED]]


def test_the_commands_for_teams_make_a_pool_and_its_deployments(prefect_server: str, tmp_path: Path) -> None:
    """All that docs/howto/schedule.md says but the worker, which would stay."""
    shutil.copy(REPOSITORY / "prefect.yaml", tmp_path)
    (tmp_path / "secateur").symlink_to(REPOSITORY / "secateur")
    guide = (REPOSITORY / "docs/howto/schedule.md").read_text(encoding="utf-8")
    *commands, worker = [line for line in guide.splitlines() if line.startswith("prefect ")]
    assert worker.startswith("prefect worker start --pool")
    environment = {**os.environ, "PREFECT_API_URL": prefect_server, "SECATEUR_ROOT": str(tmp_path)}
    for command in commands:
        subprocess.run(
            [sys.executable, "-m", *command.split()], cwd=tmp_path, env=environment, check=True, capture_output=True
        )
    with urllib.request.urlopen(f"{prefect_server}/work_pools/secateur", timeout=5) as response:
        pool = json.load(response)
    assert (pool["type"], pool["concurrency_limit"]) == ("process", 1)
    for name in ("nightly", "on-data-change"):
        with urllib.request.urlopen(f"{prefect_server}/deployments/name/retrain/{name}", timeout=5) as response:
            assert json.load(response)["work_pool_name"] == "secateur"
