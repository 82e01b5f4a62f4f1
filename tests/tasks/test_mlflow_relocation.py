"""Addresses in a project's own registry, after the project was copied or moved."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from secateur.registry.mlflow_relocation import bring_home
from secateur.registry.mlflow_store import ModelRegistry, tracking_uri
from secateur.workflow.project import Project

_COLUMNS = {"experiments": "artifact_location", "runs": "artifact_uri", "model_versions": "storage_location"}
_EMPTY = "CREATE TABLE logged_models (model_id TEXT, artifact_location TEXT)"


def _write(home: Path, addresses: str) -> None:
    """Write a registry with one experiment, one run and one version, as they are in a project at an address."""
    (home / "mlruns" / "run1" / "artifacts").mkdir(parents=True)
    with closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        database.execute(_EMPTY)
        database.execute("CREATE TABLE experiments (experiment_id INTEGER, artifact_location TEXT)")
        database.execute("CREATE TABLE runs (run_uuid TEXT, experiment_id INTEGER, artifact_uri TEXT)")
        database.execute("CREATE TABLE model_versions (version INTEGER, storage_location TEXT)")
        database.execute("INSERT INTO experiments VALUES (1, ?)", (f"{addresses}/mlruns",))
        database.execute("INSERT INTO runs VALUES ('run1', 1, ?)", (f"{addresses}/mlruns/run1/artifacts",))
        database.execute("INSERT INTO model_versions VALUES (1, ?)", (f"{addresses}/mlruns/models/m-1/artifacts",))


def _addresses(home: Path) -> Iterator[str]:
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        for table, column in _COLUMNS.items():
            yield from (address for (address,) in database.execute(f"SELECT {column} FROM {table}"))


@pytest.mark.parametrize("name", ["plain", "Änne's 100% #1", "what? %25"])
@pytest.mark.parametrize("before", ["gone", "there"])
def test_addresses_follow_the_project(tmp_path: Path, name: str, before: str) -> None:
    original, home = tmp_path / f"{name} before", tmp_path / name
    home.mkdir()
    _write(home, original.as_uri())
    if before == "there":
        original.mkdir()
        _write(original, original.as_uri())
    bring_home(home)
    assert list(_addresses(home)) == [
        f"{home.as_uri()}/mlruns",
        f"{home.as_uri()}/mlruns/run1/artifacts",
        f"{home.as_uri()}/mlruns/models/m-1/artifacts",
    ]
    if before == "there":
        assert all(address.startswith(original.as_uri()) for address in _addresses(original))


def test_plain_paths_stay_plain(tmp_path: Path) -> None:
    _write(tmp_path / "here", str(tmp_path / "before"))
    bring_home(tmp_path / "here")
    assert next(_addresses(tmp_path / "here")) == str(tmp_path / "here" / "mlruns")


@pytest.mark.parametrize("address", ["s3://bucket/team", "https://server", "mlflow-artifacts:/1"])
def test_a_store_elsewhere_is_left_alone(tmp_path: Path, address: str) -> None:
    _write(tmp_path, address)
    before = (tmp_path / "mlflow.db").read_bytes()
    bring_home(tmp_path)
    assert (tmp_path / "mlflow.db").read_bytes() == before


def test_a_shared_folder_that_is_no_project_is_left_alone(tmp_path: Path) -> None:
    home, shared = tmp_path / "home", tmp_path / "shared"
    (shared / "mlruns" / "run1").mkdir(parents=True)
    _write(home, shared.as_uri())
    (home / "mlruns" / "run1" / "artifacts").rmdir()
    (home / "mlruns" / "run1").rmdir()
    bring_home(home)
    assert next(_addresses(home)) == f"{shared.as_uri()}/mlruns"


def test_artifacts_that_were_not_copied_are_found_where_they_are(tmp_path: Path) -> None:
    original, home = tmp_path / "original", tmp_path / "home"
    _write(original, original.as_uri())
    _write(home, original.as_uri())
    (home / "mlruns" / "run1" / "artifacts").rmdir()
    bring_home(home)
    experiment, run, _ = _addresses(home)
    assert experiment == f"{home.as_uri()}/mlruns", "what is new comes here"
    assert run == f"{original.as_uri()}/mlruns/run1/artifacts"


def test_nothing_is_written_where_nothing_moved(tmp_path: Path) -> None:
    _write(tmp_path, tmp_path.as_uri())
    (tmp_path / "mlflow.db").chmod(0o400)
    before = (tmp_path / "mlflow.db").stat().st_mtime_ns
    bring_home(tmp_path)
    assert (tmp_path / "mlflow.db").stat().st_mtime_ns == before


def test_where_nothing_can_be_written_a_private_copy_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, "file:///before")
    before = (tmp_path / "mlflow.db").read_bytes()
    monkeypatch.setattr(os, "access", lambda *_: False)
    file = bring_home(tmp_path)
    assert file.parent != tmp_path
    assert next(_addresses(file.parent)) == f"{tmp_path.as_uri()}/mlruns"
    assert (tmp_path / "mlflow.db").read_bytes() == before


def test_a_registry_lies_in_its_project_whatever_its_path(tmp_path: Path) -> None:
    home = tmp_path / "what? 100% #1 Änne's"
    home.mkdir()
    registry = ModelRegistry(Project(home))
    assert registry.uri == tracking_uri(Project(home))
    assert (home / "mlflow.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [home.name]
