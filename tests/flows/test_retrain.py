"""When a retraining trains, what it refuses to train on, and what it does with what came out."""

import csv
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.retrain import retrain
from secateur.errors import CheckFailed, NotJudged, ProjectError
from secateur.gate.condition import Condition
from secateur.registry.history import events
from secateur.registry.mlflow_records import Records
from secateur.registry.mlflow_store import ModelRegistry
from secateur.registry.tags import TRANSITION
from secateur.registry.verdict import Verdict
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.full_form import module_of
from secateur.workflow.project import Project, exclusive
from tests.integration.in_process import output, refused
from tests.tiny import REPOSITORY, environment, git, sentences
from tests.tiny_live import write_live

Gate = Callable[..., list[str]]


@pytest.fixture
def champion(project: Path) -> Path:
    """The finished project with its last round as champion."""
    ModelRegistry(Project(project)).set_alias("tiny", "champion", "3")
    return project


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Put a gate that is decided beforehand in place of the real one, which has its own tests and takes a minute."""

    def put(*, promoted: bool, name: str = "quality_floor", found: str = "0.5") -> list[str]:
        judged: list[str] = []

        def judge(project: Project, *, reference: str) -> Verdict:
            judged.append(reference)
            number = reference.rpartition("/")[2]
            if promoted:
                ModelRegistry(project).set_alias("tiny", "champion", number)
            condition = Condition(name, "0.9", found, promoted, f"{name}: asked 0.9, found {found}")
            return Verdict(promoted, False, number, None, (condition,), condition.reason)

        monkeypatch.setattr(module_of(REPOSITORY, "flows", "promote"), "promote", judge)
        return judged

    return put


def _no_build() -> list[dict[str, Any]]:
    raise AssertionError("nothing should have been built")


def _run(root: Path, build: Callable[[], list[dict[str, Any]]] = _no_build, **options: Any) -> Any:
    return retrain(Project(root), cause="a test", build=build, **options)


def _write(root: Path, rows: list[tuple[str, str]]) -> None:
    with (root / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def _set(root: Path, key: str, value: Any) -> None:
    values = json.loads((root / "params.yaml").read_text())
    *parents, last = key.split(".")
    section = values
    for parent in parents:
        section = section[parent]
    section[last] = value
    (root / "params.yaml").write_text(json.dumps(values, indent=2))
    git(root, "commit", "-qam", key)


def _drift(root: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((root / "reports/drift.json").read_text())
    return values


def test_says_up_to_date_without_loading_torch_or_prefect(champion: Path) -> None:
    code = (
        "import sys\nfrom secateur.cli import cli\n"
        "cli.main(['retrain', '--json'], standalone_mode=False)\n"
        "print(sorted({'torch', 'prefect', 'transformers'} & set(sys.modules)), file=sys.stderr)\n"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=champion,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    done = json.loads(completed.stdout)
    assert (done["action"], done["champion"], done["stages"]) == ("up to date", "3", {})
    assert done["reason"] == "neither data nor parameters nor code changed"
    assert completed.stderr.splitlines()[-1] == "[]"
    assert json.loads((champion / "reports/retrain.json").read_text())["latest"] == done
    assert not (champion / ".secateur/retrain.jsonl").exists()


def test_a_promotion_that_died_behind_the_alias_is_written_down_by_the_next_retraining(champion: Path) -> None:
    records = Records(ModelRegistry(Project(champion)), "tiny")
    move = {
        "number": 1, "what": "promoted", "from_": None, "to": "3", "who": "me", "when": "2026-01-05T10:00:00+00:00",
        "why": "better", "forced": False, "state": "proven", "host": socket.gethostname(), "process": "1@0",
    }  # fmt: skip
    records.tag(TRANSITION, json.dumps(move))
    assert _run(champion).action == "up to date"
    assert TRANSITION not in records.tags()
    assert [(event.what, event.to) for event in events(records)] == [("promoted", "3")]


def test_drift_of_the_traffic_asks_for_rows_and_builds_where_there_are_some(champion: Path) -> None:
    asked = ("retrain", "--if-drifted")
    assert "there is no reports/live.json of a server: `secateur serve MODEL --live`" in str(refused(champion, *asked))
    write_live(champion, psi=0.1)
    assert output(champion, *asked) == "up to date: the last 1000 texts are like the training rows of tiny\n"
    assert not (champion / "reports/retrain.json").exists(), "nothing was looked at"
    write_live(champion, psi=0.4)
    drift = "1000 texts that tiny version 3 was asked about are not like its training rows: label shares (PSI 0.40)"
    assert drift + ": the source needs rows like them" in output(champion, *asked)
    latest = json.loads((champion / "reports/retrain.json").read_text())["latest"]
    assert latest["cause"] == f"by hand, because {drift}"
    records = Records(ModelRegistry(Project(champion)), "tiny")
    records.point("champion", "2")
    assert output(champion, *asked) == "up to date: version 3 was asked about other texts, and the champion is 2\n"
    records.point("champion", "3")
    _write(champion, sentences(200))
    assert _run(champion, lambda: [{"stage": "ingest", "action": "run"}]).stages == {"ingest": "run"}
    write_live(champion, psi=0.4, missing="the rows are gone")
    assert str(refused(champion, *asked)) == "nobody can say whether the traffic drifted: the rows are gone"


def test_a_challenger_that_nobody_judged_is_judged_and_nothing_is_built(project: Path, gate: Gate) -> None:
    judged = gate(promoted=True)
    done = _run(project)
    assert (done.action, done.champion, judged) == ("promoted", "3", ["models:/tiny/3"])
    again = _run(project)
    assert (again.action, judged) == ("up to date", ["models:/tiny/3"])
    [kept] = [json.loads(line) for line in (project / ".secateur/retrain.jsonl").read_text().splitlines()]
    assert (kept["action"], kept["cause"]) == ("promoted", "a test")


def test_a_held_challenger_is_judged_again_when_the_thresholds_change(project: Path, gate: Gate) -> None:
    judged = gate(promoted=False)
    first = _run(project)
    assert (first.action, first.reason) == ("held", "quality_floor: asked 0.9, found 0.5")
    assert first.conditions[0]["passed"] is False
    second = _run(project)
    assert second.action == "up to date"
    assert second.reason.endswith("version 3 stays held: quality_floor: asked 0.9, found 0.5")
    assert len(judged) == 1
    _set(project, "promote.max_drop", 0.5)
    _run(project)
    assert len(judged) == 2


def test_a_time_out_of_the_gate_is_not_remembered(project: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(_: Project, *, reference: str) -> Verdict:
        raise NotJudged(f"not judged: {reference}")

    with monkeypatch.context() as patch:
        patch.setattr(module_of(REPOSITORY, "flows", "promote"), "promote", late)
        with pytest.raises(NotJudged):
            _run(project)
    judged = gate(promoted=True)
    assert _run(project).action == "promoted"
    assert judged == ["models:/tiny/3"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("test_rows", "unknown"),
        ("digests", "a file that is not"),
        ("champion", "version 1 cannot be"),
        ("reload", "does not"),
        ("smoke", "does not"),
    ],
)
def test_what_a_store_or_a_process_did_is_not_remembered_either(
    project: Path, gate: Gate, name: str, found: str
) -> None:
    """A remote that did not answer, a file that was restored meanwhile: the model may be as good as any."""
    judged = gate(promoted=False, name=name, found=found)
    assert [_run(project).action for _ in range(2)] == ["held", "held"]
    assert len(judged) == 2


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (sentences(90), "retrain.quality.min_rows=100 or more, found 90"),
        (sentences(240, num_labels=3), "labels: asked those of the champion's data, found new: neutral"),
        (
            [*sentences(160), *(("so good " + t, "positive") for t, _ in sentences(160, seed=3))],
            "(negative: 0.500 -> 0.2",
        ),
        ([*sentences(160), *[("", "positive")] * 40], "max_empty=0.05 or less, found 0.200 (40)"),
    ],
)
def test_rows_that_are_not_fit_are_held_before_anything_is_written(
    champion: Path, rows: list[tuple[str, str]], reason: str
) -> None:
    kept = (champion / "dvc.lock").read_bytes()
    _write(champion, rows)
    done = _run(champion)
    assert done.action == "held"
    assert reason in done.reason
    assert done.reason.startswith("the rows are not fit to train on: ")
    assert any(change.startswith("ingest: data rows.csv changed") for change in done.changes)
    assert (champion / "dvc.lock").read_bytes() == kept
    assert not _drift(champion)["quality"]["passed"]
    assert _drift(champion)["reference"] == {"version": "3", "data_md5": _data_md5(champion), "rows": 160}


def _data_md5(root: Path) -> str:
    return DvcStore(Project(root)).output_digests("ingest")["data/raw"]


def test_new_rows_are_compared_and_built(champion: Path) -> None:
    rows = sentences(160)
    new = [(f"quite other words here {text}", label) for text, label in sentences(40, seed=8)]
    _write(champion, [*rows, *new])
    done = _run(champion, lambda: [{"stage": "ingest", "action": "run"}])
    assert (done.action, done.stages) == ("up to date", {"ingest": "run"})
    drift = _drift(champion)
    assert (drift["added"]["rows"], drift["current"]["rows"]["current"]) == ({"reference": 160, "current": 40}, 200)
    assert drift["added"]["embeddings"]["drifted"]
    assert any(said.startswith("new rows: the champion's encoder tells the rows apart") for said in drift["findings"])
    assert "quite" in drift["added"]["vocabulary"]["new_tokens"]


def test_the_reference_is_fetched_once_and_its_loss_is_said(champion: Path) -> None:
    md5 = _data_md5(champion)
    for folder in (champion / ".dvc/cache", champion / ".secateur/remote"):
        for file in folder.rglob(f"{md5[2:]}*"):
            file.unlink()
    _write(champion, sentences(200))
    done = _run(champion, lambda: [])
    assert done.action == "up to date"
    drift = _drift(champion)
    assert drift["reference"] is None
    assert "the rows of version 3 cannot be had: data/raw of version 3" in drift["missing"]


def test_an_old_champion_is_verified_and_scored_once(champion: Path) -> None:
    _set(champion, "retrain.max_age", "1s")
    time.sleep(1)
    done = _run(champion)
    assert done.action == "verified"
    assert "version 3, is older than retrain.max_age=1s: its files are intact, macro-F1" in done.reason
    _set(champion, "retrain.max_age", "1h")
    assert _run(champion).action == "up to date"


def test_an_old_champion_that_was_tampered_with_is_reported(champion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _set(champion, "retrain.max_age", "1s")
    time.sleep(1)

    def changed(*_: Any, **__: Any) -> None:
        raise CheckFailed("tiny version 3: model.safetensors differs from its digest")

    monkeypatch.setattr("secateur.registry.model_source.resolve", changed)
    done = _run(champion)
    assert done.action == "held"
    assert "and tiny version 3: model.safetensors differs from its digest" in done.reason


def test_waits_for_another_run_or_refuses(champion: Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with exclusive(Project(champion)):
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(30)
    with pytest.raises(ProjectError, match="another command"):
        _run(champion)
    threading.Timer(0.5, leave.set).start()
    assert _run(champion, wait=True).action == "up to date"
    thread.join()


def test_a_dirty_tree_is_refused(champion: Path) -> None:
    with (champion / "code.lock").open("a") as file:
        file.write("# changed\n")
    for command in (["retrain"], ["schedule", "--cron", "0 3 * * *"]):
        error = refused(champion, *command)
        said = "code.lock is changed and not committed, so a version made now could not be rebuilt"
        assert said in str(error)


def test_the_command_exits_with_1_when_held(champion: Path) -> None:
    assert "up to date: neither data" in output(champion, "retrain")
    _write(champion, sentences(90))
    with pytest.raises(CheckFailed, match="held: the rows are not fit to train on: rows: asked"):
        output(champion, "retrain")
