"""What DVC says becomes one true line."""

import errno
from pathlib import Path

import pytest
from dvc.exceptions import CacheLinkError, DvcException
from dvc.repo import Repo
from dvc.repo.index import Index

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
