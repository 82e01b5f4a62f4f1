"""The commands of DVC that people know: experiments, diffs, push and pull, data under ``dvc add``."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from secateur.registry.mlflow_store import ModelRegistry
from secateur.workflow.project import Project
from tests.integration.in_process import digests, output
from tests.tiny import actions, dvc, git


@pytest.fixture(scope="module")
def tried(finished_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after an experiment in its workspace and one in a temporary folder."""
    root = tmp_path_factory.mktemp("experiments") / "project"
    shutil.copytree(finished_project, root, symlinks=True)
    dvc(root, "exp", "run", "-n", "away", "--temp", "-S", "prune.rounds.r2.epochs=0.5")
    assert git(root, "status", "--porcelain") == "", "a temporary experiment leaves the workspace alone"
    dvc(root, "exp", "run", "-n", "here", "-S", "evaluate.bootstrap_samples=140")
    return root


def _experiments(root: Path) -> dict[str, str]:
    """Return name -> revision of the experiments that ``dvc exp show`` lists."""
    shown = json.loads(dvc(root, "exp", "show", "--json").stdout)
    found = [experiment for commit in shown for experiment in commit["experiments"] or []]
    return {revision["name"]: revision["rev"] for experiment in found for revision in experiment["revs"]}


def test_an_experiment_runs_what_its_parameter_decides(tried: Path) -> None:
    assert yaml.safe_load((tried / "params.yaml").read_text())["evaluate"]["bootstrap_samples"] == 140
    locked = yaml.safe_load((tried / "dvc.lock").read_text())["stages"]
    assert locked["evaluate"]["params"]["params.yaml"]["evaluate"]["bootstrap_samples"] == 140
    assert dvc(tried, "status").stdout.strip() == "Data and pipelines are up to date."
    assert {entry["verdict"] for entry in json.loads(output(tried, "plan", "--json"))} == {"up to date"}


def test_exp_show_lists_both(tried: Path) -> None:
    assert set(_experiments(tried)) == {"here", "away"}


def test_a_temporary_experiment_registers_in_the_database_of_the_project(tried: Path) -> None:
    assert [path.relative_to(tried).as_posix() for path in tried.rglob("mlflow.db")] == ["mlflow.db"]
    newest, *others = ModelRegistry(Project(tried)).versions("tiny")
    assert (newest.version, newest.tags["secateur.stage"]) == ("4", "prune@r2")
    assert newest.tags["secateur.key"] not in {entry.tags["secateur.key"] for entry in others}
    assert len(others) == 3, "what it shares with the project is not registered again"


def test_metrics_diff_names_what_moved(tried: Path) -> None:
    moved = json.loads(dvc(tried, "metrics", "diff", "--json").stdout)["reports/metrics.json"]
    assert any(name.startswith("rounds.r2.") for name in moved)
    assert all(name.endswith(("_low", "_high")) for name in moved), "other resamples move the intervals only"
    between = dvc(tried, "metrics", "diff", "HEAD", _experiments(tried)["away"], "--all").stdout
    assert "rounds.r2.loss" in between


def test_plots_diff_draws_the_metric(tried: Path, tmp_path: Path) -> None:
    page = tmp_path / "plots"
    assert "index.html" in dvc(tried, "plots", "diff", "--out", str(page)).stdout
    drawn = (page / "index.html").read_text()
    assert "validation_macro_f1" in drawn
    assert "Macro-F1 on test against multiply-accumulates" in drawn


def test_plots_are_not_offered_to_git(tried: Path) -> None:
    dvc(tried, "plots", "diff")
    assert (tried / "dvc_plots" / "index.html").is_file()
    assert "dvc_plots" not in git(tried, "status", "--porcelain")


def _outputs(root: Path) -> list[Path]:
    """Return the outputs that DVC stores; metrics are git's."""
    stages = yaml.safe_load((root / "dvc.lock").read_text())["stages"].values()
    paths = [root / out["path"] for stage in stages for out in stage.get("outs", [])]
    return [path for path in paths if path.name != "metrics.json"]


def test_push_and_pull_restore_every_output_without_computing(project: Path) -> None:
    dvc(project, "push")
    before = digests(project)
    shutil.rmtree(project / ".dvc" / "cache")
    for path in _outputs(project):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert not (project / "models" / "r2").exists()
    dvc(project, "pull")
    after = digests(project)
    assert {name: digest for name, digest in after.items() if not name.startswith(".dvc/cache")} == {
        name: digest for name, digest in before.items() if not name.startswith(".dvc/cache")
    }
    assert set(actions(project).values()) == {"cached"}


def test_a_source_under_dvc_add_is_no_stage(project: Path) -> None:
    git(project, "rm", "-q", "--cached", "rows.csv")
    git(project, "commit", "-qm", "rows go to DVC")
    dvc(project, "add", "rows.csv")
    assert set(actions(project).values()) == {"cached"}
    (project / "rows.csv").write_text((project / "rows.csv").read_text().replace("good", "fine", 1))
    planned = {entry["stage"]: entry["verdict"] for entry in json.loads(output(project, "plan", "--json"))}
    assert planned["ingest"] == "run"
    assert set(planned) == {"ingest", "clean", "baseline", "prune@r1", "prune@r2", "evaluate", "register", "report"}
