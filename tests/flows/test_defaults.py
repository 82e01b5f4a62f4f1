"""A project that says almost nothing: it runs, both drivers agree on it, and what it begins or ceases to say counts."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.integration.in_process import output, refused
from tests.tiny import actions, dvc, git, make_project

CHOSEN = """\
# A page nobody has to read.
ingest:
  source: rows.csv
  text_column: text
  label_column: label

baseline:
  model: ./tiny-bert
"""
QUICK = {
    "prune.budget.macs": 0.6,
    "prune.recovery.min_steps": 10,
    "baseline.min_steps": 60,
    "evaluate.latency.repeats": 3,
    "evaluate.robustness.rows": 0,
    "evaluate.deployed": "torch",
    "evaluate.latency.runtimes": ["torch"],
    "register.runtime": "torch",
    "run.num_threads": 1,
}
ROUNDS = ["prune@r1", "prune@r2", "prune@r3"]


def pipeline(root: Path) -> Any:
    return YAML(typ="safe").load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def leaves(values: Any, *, prefix: str = "") -> dict[str, Any]:
    """Return the values of nested sections by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        inner = leaves(value, prefix=f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
        found |= inner
    return found


def parameters(root: Path, stage: str) -> list[str]:
    entry = pipeline(root)[stage]
    return [key for key in entry.get("do", entry)["params"] if isinstance(key, str)]


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_project(tmp_path_factory.mktemp("planned") / "project")
    (root / "constraints.txt").unlink()
    (root / "params.yaml").write_text(CHOSEN, encoding="utf-8")
    output(root, "plan")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "what it chooses")
    return root


@pytest.fixture(scope="module")
def made(planned: Path, tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Path:
    root = tmp_path_factory.mktemp("made") / "project"
    shutil.copytree(planned, root, symlinks=True)
    done = actions(
        root, *(word for entry in QUICK.items() for word in ("-S", "=".join([entry[0], json.dumps(entry[1])])))
    )
    assert set(done.values()) == {"run"}
    return root


@pytest.fixture
def sparse(made: Path, tmp_path: Path) -> Path:
    root = tmp_path / "project"
    shutil.copytree(made, root, symlinks=True)
    return root


def test_the_graph_names_what_the_file_names(planned: Path) -> None:
    assert parameters(planned, "ingest") == ["baseline.model", "ingest"]
    assert parameters(planned, "baseline") == ["baseline"]
    assert parameters(planned, "evaluate") == []
    assert parameters(planned, "prune") == []
    assert pipeline(planned)["prune"]["foreach"] == {name: {"prev": "baseline"} for name in ("r1", "r2", "r3")}
    assert pipeline(planned)["ingest"]["deps"] == ["./tiny-bert", "rows.csv"]
    assert (planned / "params.yaml").read_text(encoding="utf-8") == CHOSEN


def test_a_part_of_a_repository_is_a_project(planned: Path, tmp_path: Path) -> None:
    root = tmp_path / "part"
    shutil.copytree(planned, root, ignore=shutil.ignore_patterns(".git"))
    git(tmp_path, "init", "-q")
    assert set(json.loads(dvc(root, "status", "--json").stdout)) >= {"ingest", "clean", *ROUNDS}
    assert "ingest" in output(root, "plan")


def test_both_drivers_find_nothing_stale(sparse: Path) -> None:
    assert dvc(sparse, "status").stdout.strip() == "Data and pipelines are up to date."
    assert set(actions(sparse).values()) == {"cached"}
    text = (sparse / "params.yaml").read_text(encoding="utf-8")
    assert text.startswith(CHOSEN.split("ingest:", maxsplit=1)[0])
    named = {**leaves(YAML(typ="safe").load(CHOSEN)), **QUICK}
    assert leaves(YAML(typ="safe").load(text)) == named, "nothing was added but what was asked for"
    card = json.loads((sparse / "models/r1/card.json").read_text())
    assert card["parameters"]["prune.criterion"] == "obs", "a card says every parameter, its default or not"
    assert card["fingerprint"]["packages"]
    assert "constraints" not in card["fingerprint"]


def test_a_parameter_that_is_named_from_now_on(sparse: Path) -> None:
    before = (sparse / "params.yaml").read_text(encoding="utf-8")
    (sparse / "params.yaml").write_text(before.replace("\nprune:\n", "\nprune:\n  repair: none\n"), encoding="utf-8")
    assert "dvc.yaml does not agree with secateur and params.yaml" in str(refused(sparse, "stage", "prune@r1"))
    said = output(sparse, "why", "prune@r1")
    assert "parameter prune.repair changed from its default to none" in said
    assert "code " not in said
    assert set(ROUNDS) <= set(json.loads(dvc(sparse, "status", "--json").stdout))
    (sparse / "params.yaml").write_text(before, encoding="utf-8")
    output(sparse, "plan")
    assert dvc(sparse, "status").stdout.strip() == "Data and pipelines are up to date."


def test_a_parameter_that_is_left_to_its_default_from_now_on(sparse: Path) -> None:
    """DVC does not compare a parameter that dvc.yaml no longer lists: the old outputs would count as the new ones."""
    values = YAML(typ="safe").load((sparse / "params.yaml").read_text(encoding="utf-8"))
    del values["evaluate"]
    (sparse / "params.yaml").write_text(json.dumps(values), encoding="utf-8")
    said = output(sparse, "why", "evaluate")
    assert "parameter evaluate.latency.repeats changed from 3 to its default" in said
    assert "evaluate" in json.loads(dvc(sparse, "status", "--json").stdout)


def test_what_an_override_would_name_is_told(sparse: Path) -> None:
    said = json.loads(output(sparse, "plan", "--json", "-S", "prune.repair=none"))
    assert said["changed"] == ["prune.repair"]
    assert [stage for stage, names in said["stages"].items() if names] == ROUNDS
    assert "did you mean prune.repair" in str(refused(sparse, "plan", "-S", "prune.repai=none"))


def test_params_fits_a_terminal_and_says_who_chose_a_value(planned: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(planned, root, symlinks=True)
    (root / "params.yaml").write_text(f"{CHOSEN}\nprune: {{budget: {{macs: 0.6}}}}\n", encoding="utf-8")
    shown = output(root, "params", "prune")
    assert max(map(len, shown.splitlines())) <= 80
    found = {entry["name"]: entry for entry in json.loads(output(root, "params", "--json"))["params"]}
    assert found["prune.budget.macs"] == {
        "name": "prune.budget.macs", "value": 0.6, "default": None, "origin": "params.yaml"
    }  # fmt: skip
    assert (found["prune.repair"]["value"], found["prune.repair"]["origin"]) == ("none", "default")
    assert max(map(len, output(root, "params").splitlines())) <= 80
    assert "did you mean prune.repair?" in str(refused(root, "params", "prune.repai"))
