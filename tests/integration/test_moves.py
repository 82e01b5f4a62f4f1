"""A finished project is copied, works under another name with other parameters, and is moved once more."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from secateur.registry.mlflow_store import ModelRegistry
from secateur.workflow import last_look
from secateur.workflow.project import Project
from tests.integration.in_process import actions_here, digests, output
from tests.tiny import actions


@pytest.fixture(scope="module")
def original(finished_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has been where it is since its registry was made."""
    root = tmp_path_factory.mktemp("moves") / "original"
    shutil.copytree(finished_project, root, symlinks=True)
    ModelRegistry(Project(root))
    return root


@pytest.fixture(scope="module")
def registered(original: Path) -> Mapping[str, str]:
    """The digests of the original before anything is copied."""
    return digests(original)


@pytest.fixture(scope="module")
def moved(original: Path, registered: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with a version of its own, moved to a path with every awkward character."""
    assert registered
    copy = tmp_path_factory.mktemp("copy") / "Änne's copy"
    shutil.copytree(original, copy, symlinks=True)
    done = actions(copy, "-S", "prune.rounds.r2.epochs=0.5")
    assert done["prune@r2"] == "run"
    root = tmp_path_factory.mktemp("moved") / "what's that? 100% #1 (ü)" / "project"
    root.parent.mkdir()
    copy.rename(root)
    return root


def test_a_copy_leaves_the_original_alone(original: Path, registered: Mapping[str, str], moved: Path) -> None:
    assert digests(original) == registered
    newest, *others = ModelRegistry(Project(moved)).versions("tiny")
    assert [entry.version for entry in others] == [
        entry.version for entry in ModelRegistry(Project(original)).versions("tiny")
    ]
    assert newest.tags["secateur.stage"] == "prune@r2"


def test_a_moved_project_is_up_to_date(moved: Path) -> None:
    assert set(actions_here(moved).values()) == {"cached"}
    assert {entry["verdict"] for entry in json.loads(output(moved, "plan", "--json"))} == {"up to date"}


def test_every_command_of_the_registry_works_where_the_project_is_now(moved: Path) -> None:
    (model,) = json.loads(output(moved, "models", "list", "--json"))
    newest = model["versions"][0]["version"]
    assert {alias: str(number) for alias, number in model["aliases"].items()} == {"challenger": newest}
    for number in ("1", newest):
        output(moved, "models", "verify", f"models:/tiny/{number}")
        output(moved, "models", "show", f"models:/tiny/{number}")
    output(moved, "models", "lineage", "models:/tiny@challenger")
    said = output(moved, "predict", "models:/tiny@challenger", "a lovely day", "--json")
    assert json.loads(said)
    output(moved, "report")


def test_plan_and_why_write_nothing_where_nothing_can_be_written(moved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in moved.rglob("*")}

    last_look.forget(Project(moved))  # so that they have to look
    before = times()
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert {entry["verdict"] for entry in json.loads(output(moved, "plan", "--json"))} == {"up to date"}
    assert "is up to date" in output(moved, "why", "evaluate")
    assert times() == before
