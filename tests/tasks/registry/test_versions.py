"""How much is asked of a registry, and what it may hold without getting in the way."""

import json
import os
import resource
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy import event
from sqlalchemy.engine import Engine

from secateur.cli import cli
from secateur.errors import ModelError, ProjectError
from secateur.registry.mlflow_records import Records
from secateur.registry.mlflow_store import ModelRegistry, run_ended
from secateur.registry.model_source import resolve
from tests.integration.registry_stand import Stand


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    """Version 1 of ``tiny`` under two aliases, and ``empty``, which has no version."""
    made = Stand(tmp_path_factory.mktemp("registry") / "project")
    made.register("baseline")
    made.registry.set_alias("tiny", "champion", "1")
    MlflowClient(made.registry.uri).create_registered_model("empty")
    return made


@contextmanager
def _statements() -> Iterator[list[str]]:
    """Collect what is sent to the database."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("PRAGMA"):
            sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def _counts(stand: Stand) -> dict[str, int]:
    registry, counts = stand.registry, {}
    records = Records(registry, "tiny")
    actions = {
        "by alias": lambda: resolve(stand.project, "models:/tiny@champion", registry=registry),
        "by number": lambda: resolve(stand.project, "models:/tiny/1", registry=registry),
        "by name": lambda: registry.version("tiny"),
        "find": lambda: records.find("models:/tiny@champion"),
        "list": registry.models,
    }
    for name, act in actions.items():
        act()  # what is asked once per process
        with _statements() as sent:
            act()
        counts[name] = len(sent)
    return counts


def _grow(stand: Stand, *, to: int) -> None:
    """Register the first version again under further numbers, each with a run of its own."""
    client = MlflowClient(stand.registry.uri)
    first = client.get_model_version("tiny", "1")
    experiment = client.get_run(first.run_id).info.experiment_id
    for number in range(len(stand.registry.versions("tiny")), to):
        run = client.create_run(experiment).info.run_id
        client.create_model_version("tiny", first.source, run, tags={**first.tags, "made": str(number)})


def test_what_is_asked_does_not_grow_with_the_number_of_versions(stand: Stand) -> None:
    _grow(stand, to=5)
    few = _counts(stand)
    _grow(stand, to=200)
    assert _counts(stand) == few
    assert len(stand.registry.versions("tiny")) == 200
    assert stand.registry.version("tiny").version == "200"
    with pytest.raises(ModelError, match=r"found 200, 199, 198, .*, 181 and 180 older ones$"):
        resolve(stand.project, "models:/tiny/99999", registry=stand.registry)


def _run(root: Path, *arguments: str) -> str:
    with chdir(root):
        result = CliRunner().invoke(cli, list(arguments), catch_exceptions=False, standalone_mode=False)
    return result.stdout


def test_a_model_without_versions_is_listed_and_named_in_refusals(stand: Stand) -> None:
    found = {model["name"]: model for model in json.loads(_run(stand.root, "models", "list", "--json"))}
    assert found["empty"] == {"name": "empty", "aliases": {}, "versions": []}
    assert "none yet" in _run(stand.root, "models", "list")
    for reference in ("models:/empty", "models:/empty/1", "models:/empty@champion"):
        with pytest.raises(ModelError, match=r"has no version yet; `secateur run` registers some"):
            ModelRegistry(stand.project).version(reference)


def test_a_full_disk_is_one_line(stand: Stand, capfd: pytest.CaptureFixture[str]) -> None:
    """As after a judgement, whose verdict has no place: MLflow prints a traceback of its own."""
    records = stand.records
    size = (stand.root / "mlflow.db").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(ProjectError) as caught:
            for number in range(200):
                records.tag_version("1", f"note{number}", "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said = str(caught.value)
    assert said.startswith("nothing about tiny can be written to the registry: (sqlite3.OperationalError) d")
    assert "SQL:" not in said and "sqlalche.me" not in said
    assert "Traceback" not in capfd.readouterr().err


def test_a_run_that_failed_is_ended_by_one_short_call(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that has gone is waited for once, and not again for the run and for the one around it."""
    asked: list[tuple[str, str | None, str | None]] = []

    def gone(_: MlflowClient, run_id: str, status: str) -> None:
        asked.append((status, *(os.environ.get(name) for name in names)))
        raise MlflowException("no answer")

    names = ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT")
    monkeypatch.setenv(names[0], "2")
    monkeypatch.delenv(names[1], raising=False)
    monkeypatch.setattr(MlflowClient, "set_terminated", gone)
    mlflow.set_tracking_uri(stand.registry.uri)
    with pytest.raises(ValueError, match="what failed"), run_ended(run_name="around"), run_ended(nested=True):
        raise ValueError("what failed")
    assert asked == [("FAILED", "0", "5")] * 2
    assert [os.environ.get(name) for name in names] == ["2", None]
    assert mlflow.active_run() is None
