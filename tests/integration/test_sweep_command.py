"""``secateur sweep``: many methods and budgets on a project's baseline, and nothing of the project goes stale."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from mlflow import MlflowClient

from secateur.errors import ConfigError
from secateur.registry.mlflow_store import ModelRegistry
from secateur.workflow.project import Project
from tests.integration.in_process import output, refused
from tests.tiny import dvc, git, secateur

_SWEEP = ("sweep", "--methods", "magnitude,obs", "--budgets", "0.5,0.8,0.01", "--json")


def _stable(values: dict[str, Any]) -> dict[str, Any]:
    points = [{key: value for key, value in point.items() if key != "seconds"} for point in values["points"]]
    return {"kind": values["kind"], "dense": values["dense"]["macro_f1"], "points": points}


def test_two_methods_and_three_budgets(project: Path) -> None:
    lock = (project / "dvc.lock").read_bytes()
    found = json.loads(secateur(project, *_SWEEP).stdout)
    assert found["kind"] == "macs"
    assert set(found["calibration_s"]) == {"magnitude", "obs"}
    assert [(point["method"], point["asked"]) for point in found["points"]] == [
        (method, budget) for method in ("magnitude", "obs") for budget in (0.8, 0.5, 0.01)
    ]
    for point in found["points"]:
        if point["asked"] == 0.01:
            assert point["error"].startswith("prune.budget.macs=0.01 is not reachable: with structures=heads+ffn")
            assert "ask for 0." in point["error"]
            assert not point["front"]
        else:
            assert point["error"] is None
            assert point["achieved"]["macs"] <= point["asked"]
            assert point["macs"] < found["dense"]["macs"]
    assert any(point["front"] for point in found["points"])

    assert json.loads((project / "reports/sweep.json").read_text()) == found
    assert ElementTree.parse(project / "reports/sweep.svg").getroot().tag.endswith("svg")
    assert _runs(project) == {"sweep", "magnitude 0.8", "magnitude 0.5", "obs 0.8", "obs 0.5"}
    assert "Data and pipelines are up to date" in dvc(project, "status").stdout
    assert (project / "dvc.lock").read_bytes() == lock
    assert git(project, "status", "--porcelain", "--", "params.yaml", "dvc.yaml", "dvc.lock", "models", "data") == ""

    again = json.loads(secateur(project, *_SWEEP).stdout)
    assert _stable(again) == _stable(found)
    assert json.loads((project / "reports/sweep.json").read_text()) == again
    shown = output(project, *_SWEEP[:-1])
    assert "not reachable" in shown
    assert "calibration, once per method: magnitude" in shown


def _runs(root: Path) -> set[str]:
    client = MlflowClient(ModelRegistry(Project(root)).uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    parents = client.search_runs(experiments, filter_string="tags.`secateur.kind` = 'sweep'")
    assert len(parents) == 1
    children = client.search_runs(experiments, filter_string=f"tags.mlflow.parentRunId = '{parents[0].info.run_id}'")
    assert all({"macs", "macro_f1", "asked"} <= set(child.data.metrics) for child in children)
    assert {file.path for file in client.list_artifacts(parents[0].info.run_id)} == {"sweep.json", "sweep.svg"}
    return {run.info.run_name for run in (*parents, *children)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "magnitude,luck"), "'luck' is no criterion; known: magnitude, gradient"),
        (("--methods", "wanda"), "--methods: wanda scores single weights, and a sweep cuts structures"),
        (("--methods", ""), "is no criterion; known: magnitude"),
        (("--budgets", "0.5,half"), "--budgets=0.5,half: expected numbers by commas"),
        (("--budgets", ""), "expected numbers by commas"),
        (("--budgets", "0.5,1.5"), "--budgets: 1.5 is out of range; a budget is a fraction of dense in (0, 1]"),
        (("--budgets", "0"), "--budgets: 0 is out of range"),
        (("--budgets", "nan"), "--budgets: nan is out of range"),
    ],
)
def test_what_is_no_sweep(finished_project: Path, arguments: tuple[str, ...], message: str) -> None:
    error = refused(finished_project, "sweep", *arguments)
    assert isinstance(error, ConfigError)
    assert message in str(error)


def test_a_method_that_lacks_its_table_is_refused_in_one_line(project: Path) -> None:
    completed = secateur(project, "sweep", "--methods", "magnitude,fixed_weight", "--json", check=False)
    assert completed.returncode == 2
    assert completed.stderr.splitlines()[-1].startswith(
        "secateur: sweep of fixed_weight: criterion fixed_weight needs multipliers"
    )
    assert "Traceback" not in completed.stderr
    assert not (project / "reports/sweep.json").exists()
