"""The workspace: found, held exclusively, released by the kernel."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from secateur.errors import ProjectError
from secateur.workflow.project import (
    Project,
    commit_of,
    dirty_files,
    exclusive,
    find_project,
    is_read_only,
    looking,
)
from secateur.workflow.project import git as secateur_git
from tests.tiny import git

_HOLD = """
import sys, time
from pathlib import Path
from secateur.workflow.project import Project, exclusive
with exclusive(Project(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


def _workspace(root: Path) -> Project:
    for name in ("dvc.yaml", "params.yaml"):
        (root / name).write_text("{}")
    git(root, "init", "-q")
    return Project(root)


def test_is_found_from_a_folder_below(tmp_path: Path) -> None:
    project = _workspace(tmp_path)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_project(below) == project


def test_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"neither .* nor a folder above it has dvc.yaml and params.yaml"):
        find_project(tmp_path)
    (tmp_path / "dvc.yaml").write_text("")
    (tmp_path / "params.yaml").write_text("")
    with pytest.raises(ProjectError, match="is not a git repository; run `git init`"):
        find_project(tmp_path)


def test_a_part_of_a_repository_is_found_where_dvc_can_work_in_it(tmp_path: Path) -> None:
    part = tmp_path / "models" / "tickets"
    part.mkdir(parents=True)
    git(tmp_path, "init", "-q")
    for name in ("dvc.yaml", "params.yaml"):
        (part / name).write_text("{}")
    with pytest.raises(ProjectError, match="is not a git repository; run `git init`"):
        find_project(part)
    (part / ".dvc").mkdir()
    assert find_project(part) == Project(part)


def test_a_second_run_is_refused_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    project = _workspace(tmp_path)
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == "held"
    with pytest.raises(ProjectError, match=rf"another command \(process {holder.pid}\) holds"), exclusive(project):
        pass
    with looking(project) as seen:  # who only looks is let in, and may write nothing
        assert seen.holder == str(holder.pid) and is_read_only(seen) and not is_read_only(project)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with exclusive(project):
        assert (project.state / "run.lock").read_text() == str(os.getpid())


def test_only_code_and_parameters_make_a_tree_dirty(tmp_path: Path) -> None:
    _workspace(tmp_path)
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "first")
    (tmp_path / "dvc.lock").write_text("an output")
    assert dirty_files(tmp_path) == []
    (tmp_path / "params.yaml").write_text("changed: 1")
    assert dirty_files(tmp_path) == ["params.yaml"]


def test_a_temporary_experiment_belongs_to_its_project(tmp_path: Path) -> None:
    inner = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "abc"
    assert Project(inner).home == tmp_path
    assert Project(tmp_path).home == tmp_path


def _foreign(root: Path) -> Path:
    """Put programs into a repository, as a folder from elsewhere may bring them; return the file that they leave."""
    (root / "secateur").mkdir()
    (root / "secateur" / "code.py").write_text("")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "made elsewhere")
    ran = root / "ran"
    for name in ("post-index-change", "post-checkout", "pre-commit", "fsmonitor-of-git"):
        hook = root / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho {name} >> '{ran}'\n")
        hook.chmod(0o755)
    git(root, "config", "core.fsmonitor", str(root / ".git" / "hooks" / "fsmonitor-of-git"))
    for what in ("clean", "smudge"):
        git(root, "config", f"filter.a.b=c.{what}", f"sh -c \"echo {what} >> '{ran}'; cat\"")
    git(root, "config", "filter.a.b=c.required", "true")
    (root / ".git" / "info" / "attributes").write_text("* filter=a.b=c\n")
    ran.unlink(missing_ok=True)
    return ran


def test_looking_at_a_foreign_repository_runs_nothing_of_it(tmp_path: Path) -> None:
    project = _workspace(tmp_path)
    ran = _foreign(tmp_path)
    (tmp_path / "secateur" / "code.py").touch()
    assert dirty_files(project.root) == []
    assert commit_of(project.root) is not None
    secateur_git(project.root, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"), "HEAD")
    assert not ran.exists()
    assert (tmp_path / "tree" / "params.yaml").read_text() == "{}"
    (tmp_path / "secateur" / "code.py").touch()
    git(tmp_path, "status")
    git(tmp_path, "checkout", "--quiet", "--force", "HEAD", "--", "params.yaml")
    said = ran.read_text()
    assert "fsmonitor-of-git" in said and "clean" in said, "git itself runs them"


def test_hooks_of_the_owner_run_for_a_commit_that_was_asked_for(tmp_path: Path) -> None:
    project = _workspace(tmp_path)
    ran = _foreign(tmp_path)
    (tmp_path / "params.yaml").write_text("{a: 1}")
    who = ("-c", "user.name=tests", "-c", "user.email=tests@localhost")
    secateur_git(project.root, *who, "commit", "-qm", "a run", "--", "params.yaml", hooks=True)
    assert "pre-commit" in ran.read_text()
    assert "clean" in ran.read_text(), "what encrypts a file must not be left out"
    assert "fsmonitor" not in ran.read_text()
