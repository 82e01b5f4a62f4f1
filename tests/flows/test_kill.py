"""kill -9 costs at most the round that was running, and changes no bit of the result."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from secateur.workflow.params import propose
from secateur.workflow.project import Project
from tests.integration.in_process import actions_here, output, refused
from tests.kills_by_hand import contents, kill_and_resume
from tests.tiny import actions, environment, git, secateur

CHANGE = ("-S", "prune.rounds.r2.epochs=3")


def _kill_in_round_2(root: Path, *, after_seconds: float) -> None:
    """Start a run, wait until round 2 is announced and some time more, then kill the whole process group."""
    run = subprocess.Popen(
        [sys.executable, "-m", "secateur.cli", "run", *CHANGE],
        cwd=root,
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert run.stderr is not None
    for line in run.stderr:
        if "prune@r2" in line:
            break
    time.sleep(after_seconds)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    run.stderr.close()


@pytest.fixture(scope="module")
def uninterrupted(finished_project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("uninterrupted") / "project"
    shutil.copytree(finished_project, root, symlinks=True)
    secateur(root, "run", *CHANGE)
    return contents(root)


@pytest.mark.parametrize("after_seconds", [0.0, 4.0])
def test_resumes_after_round_1_with_the_same_digests(
    project: Path, uninterrupted: dict[str, str], after_seconds: float
) -> None:
    _kill_in_round_2(project, after_seconds=after_seconds)
    done = actions(project, *CHANGE)
    assert [done[stage] for stage in ("ingest", "clean", "baseline", "prune@r1")] == ["cached"] * 4
    assert contents(project) == uninterrupted


def test_resumes_after_a_kill_while_dvc_writes_dvc_lock(project: Path, uninterrupted: dict[str, str]) -> None:
    propose(Project(project), file=None, overrides=CHANGE[1:]).apply(Project(project))
    done = kill_and_resume(project, aim="lock by dvc repro", after=0.0, group=True, whole=uninterrupted)
    assert done.different == ()
    assert done.lock in ("empty", "cut")
    assert done.said.startswith("secateur: dvc.lock ")


@pytest.mark.parametrize("damage", [b"", b'{"read": {', b"\x00\x00"])
def test_survives_a_half_written_rwlock(project: Path, damage: bytes) -> None:
    (project / ".dvc" / "tmp" / "rwlock").write_bytes(damage)
    assert set(actions_here(project).values()) == {"cached"}


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "no copy"])
def test_an_empty_dvc_lock_is_healed_by_the_next_command(project: Path, kept: bool) -> None:
    lock = (project / "dvc.lock").read_bytes()
    if not kept:
        shutil.rmtree(project / ".secateur")
        git(project, "rm", "-q", "--cached", "dvc.lock")
        git(project, "commit", "-qm", "dvc.lock is nobody's")
    (project / "dvc.lock").write_bytes(b"")
    completed = secateur(project, "run", "--json")
    assert [line for line in completed.stderr.splitlines() if line.startswith("secateur: dvc.lock")] == [
        "secateur: dvc.lock is empty, as a killed process leaves it; "
        + ("its last complete state was put back" if kept else "it begins anew from DVC's run-cache")
    ]
    done = [entry["action"] for entry in json.loads(completed.stdout)["stages"]]
    assert set(done) == {"cached"} if kept else "run" not in done[:6]
    assert (project / "dvc.lock").read_bytes() == lock


def test_every_command_heals_a_dvc_lock(project: Path) -> None:
    lock = (project / "dvc.lock").read_bytes()
    for command in (["plan"], ["why", "evaluate"], ["stage", "clean"]):
        (project / "dvc.lock").write_bytes(b"")
        output(project, *command)
        assert (project / "dvc.lock").read_bytes() == lock, command


def test_a_merge_conflict_is_left_to_the_user(project: Path) -> None:
    lock = (project / "dvc.lock").read_text()
    ours, theirs = lock, lock.replace("md5: ", "md5: 0")
    (project / "dvc.lock").write_text(f"<<<<<<< HEAD\n{ours}=======\n{theirs}>>>>>>> other\n")
    error = refused(project, "plan")
    assert "holds both sides of a merge" in str(error)
    assert "git checkout --ours dvc.lock" in str(error)
