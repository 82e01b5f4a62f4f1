"""``secateur gc``: what nothing refers to goes, and nothing else."""

import json
import os
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo

from secateur.cli import space as command
from secateur.errors import Occupied, ProjectError
from secateur.models.card import Card
from secateur.registry.mlflow_store import ModelRegistry
from secateur.registry.tags import DATA, sha256_of
from secateur.space.needed import needed
from secateur.space.unreferenced import Needed, unreferenced
from secateur.workflow import dvc_gc
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.project import Project, exclusive
from tests.integration.in_process import output, refused
from tests.tiny import git

GRAPH = "stages:\n  ingest:\n    cmd: 'true'\n    outs: [data/raw]\n  clean:\n    cmd: 'true'\n    deps: [data/raw]\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose only stage was recorded with three contents: one in a commit, one in a tag, one in dvc.lock."""
    git(tmp_path, "init", "-q")
    Repo.init(str(tmp_path)).close()
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    (tmp_path / "params.yaml").write_text("ingest: {source: rows.csv, label_column: label}\n")
    (tmp_path / ".gitignore").write_text("/data/\n/.secateur/\n/mlflow.db*\n/mlruns/\n/models/\n")
    for content, what in (("committed", "commit"), ("tagged", "tag"), ("lost", ""), ("of today", "")):
        record(tmp_path, content)
        if what:
            git(tmp_path, "add", "-A")
            git(tmp_path, "commit", "-qm", content)
        if what == "tag":
            git(tmp_path, "tag", "kept")
            git(tmp_path, "reset", "-q", "--hard", "HEAD~1")
    return tmp_path


def record(root: Path, content: str) -> str:
    """Let ``ingest`` leave a folder with this content and one file that is always the same; return its digest."""
    folder = root / "data" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("rows", content), ("same", "same")):
        (folder / name).unlink(missing_ok=True)  # DVC may have linked it
        (folder / name).write_text(text)
    store = DvcStore(Project(root))
    store.commit("ingest")
    return store.output_digests("ingest")["data/raw"]


def contents(root: Path) -> set[str]:
    """Return what the objects of the cache hold, lists of folders left out."""
    files = (root / ".dvc" / "cache" / "files" / "md5").glob("??/*")
    return {file.read_text() for file in files if not file.name.endswith(".dir")}


def found_in(root: Path, *arguments: str) -> dict[str, Any]:
    return dict(json.loads(output(root, "gc", "--json", *arguments)))


def test_it_shows_first_and_removes_what_nothing_refers_to_when_told(root: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = output(root, "gc")
    assert max(map(len, said.splitlines())) <= 80
    assert "objects of DVC's cache" in said
    assert "nothing was removed; `secateur gc --yes` removes all of it" in said
    assert contents(root) == {"committed", "tagged", "lost", "of today", "same"}
    told = found_in(root)
    assert not told["removed"]
    [objects] = told["found"]
    assert objects["count"] == 2, "the file, and the list of its folder"
    assert told["bytes"] == objects["bytes"] == sum(Path(path).stat().st_size for path in objects["paths"])
    assert found_in(root, "--yes")["removed"]
    assert contents(root) == {"committed", "tagged", "of today", "same"}
    assert "nothing to remove" in output(root, "gc", "--yes")
    for revision, content in (("HEAD", "committed"), ("kept", "tagged")):
        git(root, "checkout", "-q", "-f", revision)
        digest = DvcStore(Project(root)).output_digests("ingest")["data/raw"]
        DvcStore(Project(root)).fetch(digest, root / "again" / revision, what="rows")
        assert (root / "again" / revision / "rows").read_text() == content


def test_it_asks_on_a_terminal(root: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(command.sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    for answer, left in ((False, True), (True, False)):
        monkeypatch.setattr(command.click, "confirm", lambda _question, answer=answer: answer)
        with chdir(root):
            assert command.gc.main([], standalone_mode=False) is None
        assert ("lost" in contents(root)) == left


def test_a_kill_in_the_middle_loses_nothing_that_something_refers_to(root: Path, monkeypatch: Any) -> None:
    store = DvcStore(Project(root))
    paths = store.unused_objects(())
    assert [path.name.endswith(".dir") for path in paths] == [True, False], "the list goes first"
    removed = []

    def one_then_killed(odb: Any, used: Any) -> None:
        stay = {info.value for info in used}
        first = next(digest for digest in odb.all() if digest not in stay)
        removed.append(first)
        Path(odb.oid_to_path(first)).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(dvc_gc, "gc", one_then_killed)
        store.remove_objects((), paths)
    assert removed and {"committed", "tagged", "of today", "same"} <= contents(root)
    found_in(root, "--yes")
    assert contents(root) == {"committed", "tagged", "of today", "same"}


def test_what_something_refers_to_by_now_stays(root: Path) -> None:
    store = DvcStore(Project(root))
    paths = store.unused_objects(())
    record(root, "lost")
    DvcStore(Project(root)).remove_objects((), paths)
    assert "lost" in contents(root)


def test_nothing_is_touched_while_somebody_works(root: Path) -> None:
    with exclusive(Project(root)):
        assert isinstance(refused(root, "gc", "--yes"), Occupied)
    experiment = Project(root / ".dvc" / "tmp" / "exps" / "standalone" / "tmpabc")
    experiment.root.mkdir(parents=True)
    with exclusive(experiment):
        assert "an experiment of DVC runs" in str(refused(root, "gc", "--yes"))
    assert "lost" in contents(root)


def test_a_cache_that_others_may_use_is_left_alone(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    shared = tmp_path_factory.mktemp("shared")
    with (root / ".dvc" / "config").open("a") as file:
        file.write(f"[cache]\n    dir = {shared}\n")
    record(root, "shared, lost")
    record(root, "of today")
    assert found_in(root)["found"] == []
    assert "it is left as it is" in output(root, "gc", "--yes")
    assert len(list(shared.rglob("??/*"))) >= 4


def test_what_lies_in_the_state_of_a_project_goes_by_its_references(root: Path) -> None:
    project, state, known, old = Project(root), root / ".secateur", "a" * 32, "b" * 32
    (root / "code.lock").write_text(f"code:\n  clean: {known}\n")
    for digest, names in ((known, ["1" * 64, "2" * 64]), (old, ["2" * 64, "3" * 64])):
        (state / "code").mkdir(parents=True, exist_ok=True)
        (state / "code" / f"{digest}.json").write_text(
            json.dumps(dict.fromkeys("xy") | dict(zip("xy", names, strict=True)))
        )
        for name in names:
            (state / "code" / name).write_text("pass")
    (state / "code" / "index.json").write_text("{}")
    (root / "models" / "baseline").mkdir(parents=True)
    (root / "models" / "baseline" / "card.json").write_text(
        json.dumps(Card(weights_sha256="c" * 64, key="e" * 64).as_json())
    )
    for path in (
        "exports/cccccccccccccccc-1",
        "exports/dddddddddddddddd-1",
        "exports/eeeeeeee",
        "models/m%20n/3",
        "models/m%20n/4",
    ):
        (state / path).mkdir(parents=True)
        (state / path / "file").write_text("12345")
    for path, age in ((".r1.new", 7200), (".r2.new", 0), (".r3.old", 7200), (".baseline.old", 7200)):
        (root / "models" / path).mkdir()
        os.utime(root / "models" / path, (time.time() - age,) * 2)
    with exclusive(project):
        groups = unreferenced(project, DvcStore(project), Needed(versions=frozenset({("m n", "3")})))
    paths = {path.relative_to(root).as_posix() for group in groups[1:] for path in group.paths}
    assert paths == {
        f".secateur/code/{old}.json", ".secateur/code/" + "3" * 64, ".secateur/exports/dddddddddddddddd-1",
        ".secateur/models/m%20n/4", "models/.r1.new", "models/.baseline.old",
    }  # fmt: skip
    assert groups[2].bytes == groups[3].bytes == 5


def test_what_a_registered_version_is_rebuilt_from_stays(root: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    project = Project(root)
    assert needed(project) == Needed(), "no registry is made for the question"
    assert not (root / "mlflow.db").exists()
    digest = record(root, "registered")
    client = MlflowClient(ModelRegistry(project).uri)
    run = client.create_run(client.create_experiment("e", artifact_location=(root / "mlruns").as_uri())).info.run_id
    client.log_artifact(run, str(root / "dvc.lock"))
    client.create_registered_model("m")
    tags = {DATA: digest, sha256_of("dvc.lock"): "0" * 64}
    client.create_model_version("m", (root / "mlruns" / "x").as_uri(), run_id=run, tags=tags)
    record(root, "of today")
    found_in(root, "--yes")
    assert contents(root) == {"committed", "tagged", "registered", "of today", "same"}
    (root / "mlruns" / run / "artifacts" / "dvc.lock").unlink()
    error = refused(root, "gc", "--yes")
    assert isinstance(error, ProjectError)
    assert "the dvc.lock of models:/m/1 cannot be read" in str(error)
