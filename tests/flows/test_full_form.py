"""A project with flows and stages of its own: what a changed line makes stale, and what a changed flow does."""

import json
from pathlib import Path

import pytest

from secateur.processes.child_server import ServerDidNotStart
from secateur.workflow import running
from secateur.workflow.project import Project
from tests.tiny import dvc, git, secateur

_LINE = "    names, targets = found.targets.names, found.targets_by_part\n"
_WRITES = '    (project.root / "reports" / "told.txt").write_text(f"{len(outcomes)} stages")\n'


@pytest.fixture
def full(project: Path) -> Path:
    """The finished project, whose flows and stages are its own now."""
    said = secateur(project, "init", "--full").stdout
    assert "flows/build.py" in said and "nothing is stale" in " ".join(said.split())
    git(project, "add", "-A")
    git(project, "commit", "-qm", "flows and stages of our own")
    return project


def test_a_line_of_its_own_stage_makes_it_and_what_follows_stale(full: Path) -> None:
    planned = json.loads(secateur(full, "plan", "--json").stdout)
    assert {entry["verdict"] for entry in planned} == {"up to date"}, "copies are the same code"
    assert git(full, "status", "--porcelain") == ""
    file = full / "tasks" / "clean.py"
    text = file.read_text()
    assert _LINE in text
    file.write_text("# Said better.\n" + text)
    assert {entry["verdict"] for entry in json.loads(secateur(full, "plan", "--json").stdout)} == {"up to date"}
    file.write_text(text.replace(_LINE, f"{_LINE}    assert texts\n"))
    refused = dvc(full, "repro", "--single-item", "--force", "clean", check=False)
    assert "does not know the code of clean" in refused.stderr
    said = secateur(full, "why", "clean").stdout
    assert "code tasks/clean.py changed" in said and "assert texts" in said
    planned = json.loads(secateur(full, "plan", "--json").stdout)
    verdicts = {entry["stage"]: entry["verdict"] for entry in planned}
    assert verdicts.pop("ingest") == "up to date"
    assert verdicts.pop("clean") == "run"
    assert set(verdicts.values()) == {"run if upstream changes"}
    dvc(full, "repro", "--single-item", "clean")
    planned = json.loads(secateur(full, "plan", "--json").stdout)
    assert {entry["verdict"] for entry in planned} == {"up to date"}, "the same rows came out"


def test_its_own_flow_is_what_run_runs(full: Path) -> None:
    flow = full / "flows" / "build.py"
    before = "    return [outcome.as_json()"
    assert before in flow.read_text()
    flow.write_text(flow.read_text().replace(before, _WRITES + before))
    secateur(full, "run", "-S", "report.title=Another")
    assert (full / "reports" / "told.txt").read_text() == "8 stages"


def test_it_runs_without_a_record_of_prefect_as_well(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def serving(*_: object, **__: object) -> None:
        raise ServerDidNotStart("no server")

    flow = full / "flows" / "build.py"
    flow.write_text(flow.read_text().replace("    return [outcome", _WRITES + "    return [outcome"))
    monkeypatch.setattr(running, "serving_prefect", serving)
    told: list[str] = []
    done = running.bring_project_up_to_date(Project(full), told=told.append)
    assert {entry["action"] for entry in done} == {"cached"}
    assert (full / "reports" / "told.txt").is_file() and told == [
        "no server; the stages run without Prefect's record of them"
    ]


def test_its_own_promote_is_what_retrain_asks(full: Path) -> None:
    flow = full / "flows" / "promote.py"
    before = "    config = read_config(project)\n    reference = reference or"
    assert before in flow.read_text()
    flow.write_text(flow.read_text().replace(before, '    raise ConfigError("not on Fridays")\n' + before))
    git(full, "commit", "-qam", "no promotions")
    for command in (("retrain",), ("models", "promote", "models:/tiny/3")):
        assert "not on Fridays" in secateur(full, *command, check=False).stderr
