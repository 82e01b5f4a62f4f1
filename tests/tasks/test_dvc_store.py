"""What DVC says becomes one true line."""

import errno
import logging
from pathlib import Path

import pytest
from dvc.data_cloud import DataCloud
from dvc.exceptions import CacheLinkError, DvcException
from dvc.repo import Repo
from dvc.repo.index import Index
from dvc_objects.fs.utils import tmp_fname

from secateur.errors import ProjectError
from secateur.workflow.dvc_store import DvcStore, _as_project_errors
from secateur.workflow.project import Project
from tests.tiny import git


def test_a_full_disk_is_no_missing_kind_of_link(tmp_path: Path) -> None:
    with (
        pytest.raises(ProjectError, match="no space left on the device while DVC worked"),
        _as_project_errors(Project(tmp_path)),
    ):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise CacheLinkError(["models/r2"]) from error


def test_what_else_dvc_says_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"^DVC: two lines$"), _as_project_errors(Project(tmp_path)):
        raise DvcException("two\nlines")


def test_one_stage_is_read_without_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC's index makes every dependency of every stage, and a run asks for a stage sixty times."""
    git(tmp_path, "init", "-q")
    Repo.init(str(tmp_path)).close()
    with pytest.raises(ProjectError, match=r"^clean is not in dvc.yaml; run `secateur plan`, which renders it anew$"):
        DvcStore(Project(tmp_path)).status("clean")
    (tmp_path / "dvc.yaml").write_text("stages:\n  clean:\n    cmd: a\n    deps: [rows]\n  other:\n    cmd: b\n")
    (tmp_path / "rows").write_text("rows")
    store = DvcStore(Project(tmp_path))
    assert store.order() == ("clean", "other")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("DVC's index was made")

    monkeypatch.setattr(Index, "from_repo", refuse)
    assert store.status("clean").new
    assert list(store.identity("clean").dependencies) == ["rows"]
    with pytest.raises(ProjectError, match=r"^baseline is not in dvc.yaml"):
        store.identity("baseline")


def test_a_run_cache_without_an_entry_is_a_stage_that_nobody_has_computed(tmp_path: Path) -> None:
    """A kill, or a full disk, comes between the folder of an entry and the entry."""
    git(tmp_path, "init", "-q")
    Repo.init(str(tmp_path)).close()
    (tmp_path / "dvc.yaml").write_text("stages:\n  clean:\n    cmd: a\n    deps: [rows]\n    outs: [out]\n")
    for name in ("rows", "out"):
        (tmp_path / name).write_text(name)
    store = DvcStore(Project(tmp_path))
    store.commit("clean")
    assert store.restore("clean")
    [entry] = [path for path in (tmp_path / ".dvc" / "cache" / "runs").rglob("*") if path.is_file()]
    entry.unlink()
    (tmp_path / "dvc.lock").unlink()
    assert not store.restore("clean")
    assert not entry.parent.exists()
    store.commit("clean")
    assert store.restore("clean")


def test_what_a_killed_dvc_left_beside_and_in_outputs_goes(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    Repo.init(str(tmp_path)).close()
    (tmp_path / "dvc.yaml").write_text("stages:\n  train:\n    cmd: a\n    outs: [models/r1]\n")
    output = tmp_path / "models" / "r1"
    output.mkdir(parents=True)
    (output / "weights").write_text("weights")
    (output / "notes.tmp").write_text("the user's own")
    half = tmp_fname()
    for file in (output / half, output.parent / half, output / tmp_fname("weights")):
        file.write_text("wei")
    DvcStore(Project(tmp_path)).commit("train")
    assert sorted(file.name for file in output.parent.rglob("*") if file.is_file()) == [
        ".gitignore",
        "notes.tmp",
        "weights",
    ]
    assert "nfiles: 2" in (tmp_path / "dvc.lock").read_text()


def test_a_remote_that_fails_is_not_one_that_has_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q")
    Repo.init(str(tmp_path)).close()
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / ".dvc" / "config").write_text(
        f"[core]\n    remote = team\n['remote \"team\"']\n    url = {tmp_path / 'remote'}\n"
    )
    store = DvcStore(Project(tmp_path))
    with pytest.raises(ProjectError, match="is neither in DVC's cache nor in its remote"):
        store.fetch("0" * 32, tmp_path / "rows", what="data/rows")

    def stalled(*_: object) -> None:
        logging.getLogger("dvc_data.hashfile.transfer").error("failed", exc_info=TimeoutError("Read timeout"))

    monkeypatch.setattr(DataCloud, "pull", stalled)
    with pytest.raises(ProjectError, match=r"^data/rows \(md5 0+\) cannot be had: the DVC remote .*: Read timeout; "):
        store.fetch("0" * 32, tmp_path / "rows", what="data/rows")


def test_a_remote_on_s3_that_says_nothing_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    Repo.init(str(tmp_path)).close()
    (tmp_path / ".dvc" / "config").write_text(
        "['remote \"ours\"']\n    url = s3://bucket/a\n    read_timeout = 7\n['remote \"near\"']\n    url = near\n"
    )
    store = DvcStore(Project(tmp_path))
    assert store._repo.config["remote"]["ours"]["read_timeout"] == 7
    assert store._repo.config["remote"]["ours"]["connect_timeout"] == 10
    assert "read_timeout" not in store._repo.config["remote"]["near"]
