"""dvc.lock is complete or healed, wherever DVC was cut off while it wrote."""

import logging
import os
from pathlib import Path

import pytest
import yaml
from dvc.dvcfile import Lockfile
from dvc.repo import Repo
from dvc.utils.serialize import parse_yaml

from secateur.errors import ProjectError
from secateur.workflow import dvc_lock
from secateur.workflow.project import Project
from tests.tiny import git

_DIGEST = "0123456789abcdef0123456789abcdef"
LOCK = f"""schema: '2.0'
stages:
  ingest:
    cmd: secateur stage ingest
    outs:
    - path: data/raw
      hash: md5
      md5: {_DIGEST}.dir
      size: 12345
      nfiles: 12
  clean:
    cmd: secateur stage clean
    deps:
    - path: data/raw
      hash: md5
      md5: {_DIGEST}.dir
      size: 12345
      nfiles: 12
    params:
      params.yaml:
        clean:
          languages: [de, en]
    outs:
    - path: reports/data.json
      hash: md5
      md5: {_DIGEST}
      size: 678
    - path: data/clean
      hash: md5
      md5: {_DIGEST}.dir
      size: 4567
      nfiles: 34
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Project:
    """A repository with a dvc.lock."""
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").touch()
    (tmp_path / "dvc.lock").write_text(LOCK)
    return Project(tmp_path)


@pytest.mark.parametrize("text", [LOCK, LOCK[: LOCK.index("      size: 678")]], ids=["of a folder", "of a file"])
def test_what_is_cut_anywhere_is_damaged_or_merely_stale(text: str) -> None:
    whole = yaml.safe_load(LOCK)["stages"]
    assert dvc_lock.problem(LOCK.encode()) is None
    for end in range(len(text)):
        cut = text[:end].encode()
        if dvc_lock.problem(cut) is not None:
            continue
        # What DVC takes for recorded is recorded in full; all other stages run, or come from its run-cache.
        for name, stage in (yaml.safe_load(cut).get("stages") or {}).items():
            outs = stage.get("outs") or [{}]
            complete = len(outs) == len(whole[name]["outs"]) and "md5" in outs[-1]
            assert not complete or stage == whole[name], cut.decode()


def test_the_last_complete_state_is_put_back(workspace: Project, caplog: pytest.LogCaptureFixture) -> None:
    assert not dvc_lock.settle(workspace)
    damaged = LOCK[:-300].encode()
    (workspace.root / "dvc.lock").write_bytes(damaged)
    assert dvc_lock.settle(workspace)
    with caplog.at_level(logging.WARNING):
        dvc_lock.heal(workspace)
    assert (workspace.root / "dvc.lock").read_text() == LOCK
    assert (workspace.root / ".secateur" / "dvc.lock.damaged").read_bytes() == damaged
    (said,) = caplog.messages
    assert said == (
        "dvc.lock breaks off in the middle of a line, as a killed process leaves it; its last complete state was put "
        "back, the damaged one is .secateur/dvc.lock.damaged"
    )


def test_without_a_copy_the_last_commit_serves_and_else_the_run_cache(workspace: Project) -> None:
    git(workspace.root, "add", "dvc.lock")
    git(workspace.root, "commit", "-qm", "a run")
    (workspace.root / "dvc.lock").write_bytes(b"")
    dvc_lock.heal(workspace)
    assert (workspace.root / "dvc.lock").read_text() == LOCK
    git(workspace.root, "rm", "-q", "--cached", "dvc.lock")
    git(workspace.root, "commit", "-qm", "no lock")
    (workspace.root / "dvc.lock").write_text("stages: [")
    dvc_lock.heal(workspace)
    assert not (workspace.root / "dvc.lock").exists()


def test_a_missing_or_complete_dvc_lock_is_left_alone(workspace: Project) -> None:
    dvc_lock.settle(workspace)
    (workspace.root / "dvc.lock").write_text(LOCK.replace("678", "679"))
    dvc_lock.heal(workspace)
    assert "679" in (workspace.root / "dvc.lock").read_text()
    (workspace.root / "dvc.lock").unlink()
    assert not dvc_lock.settle(workspace)
    dvc_lock.heal(workspace)
    assert not (workspace.root / "dvc.lock").exists()


def test_a_merge_is_the_users(workspace: Project) -> None:
    conflict = f"<<<<<<< HEAD\n{LOCK}=======\n{LOCK}>>>>>>> other\n"
    (workspace.root / "dvc.lock").write_text(conflict)
    with pytest.raises(ProjectError, match=r"both sides of a merge; take one \(`git checkout --ours dvc.lock`"):
        dvc_lock.heal(workspace)
    assert (workspace.root / "dvc.lock").read_text() == conflict


def test_what_cannot_be_replaced_is_one_line(workspace: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    dvc_lock.keep(workspace)
    (workspace.root / "dvc.lock").write_bytes(b"")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ProjectError, match=r"dvc.lock is empty, .* and cannot be replaced: Read-only file system"):
        dvc_lock.heal(workspace)


def test_dvc_writes_the_same_bytes_beside_the_old_file(workspace: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = Path.rename

    def watched(self: Path, target: Path) -> Path:
        seen.append((Path(target).name, Path(target).read_text()))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", watched)
    lockfile = Lockfile(Repo(str(workspace.root)), str(workspace.root / "dvc.lock"))
    with dvc_lock.written_whole():
        lockfile.dump_dataset({"name": "rows", "type": "dc", "url": "dc://rows", "lock": {}})
    assert seen == [("dvc.lock", LOCK)], "while DVC writes, the old file is whole"
    by_us = (workspace.root / "dvc.lock").read_text()
    (workspace.root / "dvc.lock").write_text(LOCK)
    lockfile.dump_dataset({"name": "rows", "type": "dc", "url": "dc://rows", "lock": {}})
    assert len(seen) == 1, "outside, DVC is as it was"
    assert (workspace.root / "dvc.lock").read_text() == by_us


def test_a_lock_is_parsed_once_and_read_every_time(workspace: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC loads dvc.lock whenever it takes its lock: the same text is not parsed again, another one is."""
    dvc_lock.parse_once()
    parsed: list[str] = []

    def parse(text: str, path: str, typ: str) -> object:
        parsed.append(text)
        return parse_yaml(text, path, typ)

    monkeypatch.setattr(dvc_lock, "parse_yaml", parse)
    text = LOCK + "# of this test\n"
    lock = Lockfile(Repo(str(workspace.root)), str(workspace.root / "dvc.lock"))
    (workspace.root / "dvc.lock").write_text(text)
    lock.load()["stages"].clear()
    assert set(lock.load()["stages"]) == {"ingest", "clean"}
    assert parsed == [text]
    (workspace.root / "dvc.lock").write_text(text.replace("  clean:", "  cleaned:"))
    assert set(lock.load()["stages"]) == {"ingest", "cleaned"}
    assert len(parsed) == 2


def test_writing_again_and_again_gives_the_bytes_of_dvc(workspace: Project) -> None:
    """And what another process wrote in between is kept."""
    file = workspace.root / "dvc.lock"
    lockfile = Lockfile(Repo(str(workspace.root)), str(file))

    def dump(name: str) -> None:
        lockfile.dump_dataset({"name": name, "type": "dc", "url": f"dc://{name}", "lock": {"rows": [1, 1e-05, "1e3"]}})

    for name in ("a", "b", "c"):
        with dvc_lock.written_whole():
            dump(name)
    by_us = file.read_text()
    file.write_text(LOCK)
    for name in ("a", "b", "c"):
        dump(name)
    assert file.read_text() == by_us
    file.write_text(by_us.replace("size: 678", "size: 679"))
    with dvc_lock.written_whole():
        dump("d")
    assert "size: 679" in file.read_text()
    assert "dc://d" in file.read_text()
