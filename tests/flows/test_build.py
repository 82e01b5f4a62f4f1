"""A tiny real run under both drivers: the second one computes nothing, and both leave the same bytes."""

import json
import shutil
from pathlib import Path

import pytest

from tests.tiny import actions, dvc, git, secateur

STAGES = ["ingest", "clean", "baseline", "prune@r1", "prune@r2", "evaluate", "register", "report"]
NOTHING = dict.fromkeys(STAGES, "cached")
COMPARED = ["data", "models", "reports/metrics.json", "reports/details.json", "reports/training"]


def test_second_run_executes_nothing_and_starts_no_server(project: Path, tmp_path: Path) -> None:
    home = tmp_path / "prefect"
    completed = secateur(project, "run", "--json", cold=True, env={"PREFECT_HOME": str(home), "PREFECT_API_URL": ""})
    assert {entry["stage"]: entry["action"] for entry in json.loads(completed.stdout)["stages"]} == NOTHING
    assert not home.exists()


def test_dvc_agrees_that_nothing_is_stale(project: Path) -> None:
    assert dvc(project, "status").stdout.strip() == "Data and pipelines are up to date."
    printed = dvc(project, "repro").stdout
    assert printed.count("didn't change, skipping") == len(STAGES)


def test_lock_equals_that_of_dvc_repro_in_a_fresh_clone(finished_project: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(finished_project), str(clone))
    (clone / "dvc.lock").unlink()
    dvc(clone, "repro", "-f", "--no-run-cache")
    assert (clone / "dvc.lock").read_bytes() == (finished_project / "dvc.lock").read_bytes()
    assert git(clone, "status", "--porcelain") == ""


def test_nothing_is_left_to_do_after_dvc_repro_with_a_changed_parameter(project: Path) -> None:
    change = (project / "params.yaml").read_text().replace('"bootstrap_samples": 100', '"bootstrap_samples": 110')
    (project / "params.yaml").write_text(change)
    assert "Running stage 'evaluate'" in dvc(project, "repro").stdout
    assert actions(project) == NOTHING


def test_runs_exactly_what_a_parameter_decides(project: Path) -> None:
    changed = actions(project, "-S", "prune.rounds.r2.epochs=0.5")
    run = ["prune@r2", "evaluate", "register", "report"]
    # register and report are run again because their inputs are others.
    assert [stage for stage, action in changed.items() if action != "cached"] == run
    assert '"epochs": 0.5' in (project / "params.yaml").read_text()
    restored = actions(project, "-S", "prune.rounds.r2.epochs=null")
    assert restored["prune@r2"] == "restored"
    assert restored["evaluate"] == "restored"


def test_an_added_round_leaves_the_earlier_ones_alone(project: Path) -> None:
    done = actions(project, "-S", "prune.rounds.r3.prev=r2")
    assert {stage: done[stage] for stage in ("prune@r1", "prune@r2", "prune@r3")} == {
        "prune@r1": "cached",
        "prune@r2": "cached",
        "prune@r3": "run",
    }
    assert set(json.loads((project / "reports/metrics.json").read_text())["rounds"]) == {"r1", "r2", "r3"}


@pytest.mark.parametrize(
    "lost", [["models/r1", "data/clean/train.parquet", "reports/metrics.json", ".secateur/prefect"], ["dvc.lock"]]
)
def test_what_is_lost_is_restored_without_computing(project: Path, lost: list[str]) -> None:
    before = (project / "dvc.lock").read_bytes()
    for name in lost:
        path = project / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = actions(project)
    assert "run" not in {done[stage] for stage in STAGES[:6]}
    assert (project / "dvc.lock").read_bytes() == before
    assert (project / "models/r1/card.json").exists()
    assert (project / "reports/metrics.json").exists()


def test_what_was_tampered_with_is_restored(project: Path) -> None:
    names = ["models/r2/model.safetensors", "data/clean/test.parquet", "models/r1/card.json", "reports/metrics.json"]
    original = {name: (project / name).read_bytes() for name in names}
    for name, content in original.items():
        (project / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = actions(project)
    assert "run" not in done.values()
    assert {name: (project / name).read_bytes() for name in names} == original


def test_effects_are_written_again_without_computing(project: Path) -> None:
    for name in ("latency.json", "report.html"):
        (project / "reports" / name).unlink()
    done = actions(project)
    assert (done["evaluate"], done["report"]) == ("measured", "measured")
    assert "run" not in done.values()
    assert (project / "reports/report.html").stat().st_size > 10_000


def test_the_same_inputs_give_the_same_bytes_elsewhere(project: Path, finished_project: Path) -> None:
    for name in ("data", "models", "reports", "dvc.lock", ".dvc/cache", ".secateur"):
        path = project / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = actions(project)
    assert set(done.values()) == {"run"}
    assert (project / "dvc.lock").read_bytes() == (finished_project / "dvc.lock").read_bytes()


def test_both_drivers_do_the_same(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(project, other, symlinks=True)
    actions(project, "-S", "evaluate.bootstrap_samples=120")
    actions(other, "-S", "evaluate.bootstrap_samples=120", "--driver", "dvc")
    assert (project / "dvc.lock").read_bytes() == (other / "dvc.lock").read_bytes()


def test_commit_keeps_the_run_in_git(project: Path) -> None:
    secateur(project, "run", "--commit", "-S", "evaluate.bootstrap_samples=130")
    assert git(project, "status", "--porcelain") == ""
    assert "dvc.lock" in git(project, "show", "--stat", "HEAD")


def test_the_disk_holds_no_path_of_this_machine(finished_project: Path) -> None:
    text = [finished_project / "dvc.lock", finished_project / "dvc.yaml"]
    text += (finished_project / "models").rglob("*.json")
    text += [finished_project / "reports/metrics.json", finished_project / "data/raw/provenance.json"]
    for path in text:
        content = path.read_text()
        assert str(finished_project) not in content, path
        assert str(Path.home()) not in content, path
