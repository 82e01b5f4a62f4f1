"""What a stage has to say reaches the person, whoever ran it: ``run``, ``sweep``, ``retrain``, or a schedule."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secateur.cli.display import stage_progress
from secateur.files import write_json
from secateur.scheduling import schedule
from secateur.workflow.outcome import Outcome
from secateur.workflow.project import Project
from tests.tiny import REPOSITORY

SAID = "9 of 10 rows stay; dropped: clean.min_chars 1"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose cleaning dropped a row."""
    write_json(tmp_path / "data/raw/provenance.json", {"remarks": []})
    write_json(tmp_path / "reports/data.json", {"remarks": [SAID]})
    (tmp_path / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    return Project(tmp_path)


def _run(watch: Callable[[str, Outcome | None], None], *, action: Any = "run") -> None:
    for address in ("ingest", "clean"):
        watch(address, None)
        watch(address, Outcome(address, action, "0" * 32, 1.0))


@pytest.mark.parametrize("quiet", [False, True])
def test_a_command_tells_it_also_beside_json(project: Project, capsys: pytest.CaptureFixture[str], quiet: bool) -> None:
    with stage_progress(project, quiet=quiet) as watch:
        _run(watch)
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if SAID in line]
    assert lines == [f"clean: {SAID}" if quiet else f"  {SAID}"]
    assert shown.out == ""
    with stage_progress(project, quiet=quiet) as watch:
        _run(watch, action="cached")
    assert SAID not in capsys.readouterr().err, "nothing was done"


def test_a_run_of_a_schedule_logs_it(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(schedule, "get_run_logger", lambda: logging.getLogger("a run"))
    with caplog.at_level(logging.INFO):
        _run(schedule._log_remarks(project))
    assert caplog.messages == [f"clean: {SAID}"]
