"""Stages on workers: the dvc.lock of one process, rounds at the same time, and a worker that is killed."""

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from secateur.data.shards import work_here
from secateur.data.stored_texts import write_texts
from secateur.engines.of_shards import work_on
from secateur.engines.opening import opened
from secateur.engines.remote import config_elsewhere
from secateur.engines.setting import read_setting
from secateur.errors import ProjectError
from secateur.workflow.chain import bring_all_up_to_date, plainly
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.elsewhere import require_engine
from secateur.workflow.params import propose, read_config
from secateur.workflow.project import Project
from secateur.workflow.rendering import update_pipeline
from secateur.workflow.sweep import run_sweep, swept
from tests import warm
from tests.integration.in_process import refused
from tests.tiny import git, sentences
from tests.unit.data.test_cleaning import TEXT

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Two workers that share no folder with any project, only a remote."""
    import dask

    def use(python: str) -> None:  # here, so that it is sent as it stands
        import sys

        sys.executable = python

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0, silence_logs=50
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        client.run(use, warm.python())  # stages are forks
        yield cluster.scheduler_address


def engine(root: Path, remote: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Give a project a remote and workers."""
    remote.mkdir()
    (root / ".dvc" / "config.local").write_text(f"[core]\n    remote = team\n['remote \"team\"']\n    url = {remote}\n")
    monkeypatch.setenv("SECATEUR_ENGINE", f"dask:{address}")
    return Project(root)


def record(project: Project) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.state / "engine.json").read_text())
    return found


def test_a_run_on_workers_leaves_the_dvc_lock_of_one_process(
    finished_project: Path, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, forked_proofs: None
) -> None:
    git(tmp_path, "clone", "-q", str(finished_project), "clone")
    root = tmp_path / "clone"
    project = engine(root, tmp_path / "remote", address, monkeypatch)
    (root / "dvc.lock").unlink()
    done = bring_all_up_to_date(project, bring=plainly(project), until="prune@r2")
    assert {outcome.action for outcome in done} == {"run"}
    # What comes after the rounds runs in this process, whatever the engine.
    assert (finished_project / "dvc.lock").read_bytes().startswith((root / "dvc.lock").read_bytes())
    assert list(record(project)) == ["baseline", "prune@r1", "prune@r2"]
    assert not any(str(os.getpid()) in entry["worker"] for entry in record(project).values())


def _two_rounds(root: Path) -> Project:
    """Let two rounds begin at the dense model, and take a while."""
    project = Project(root)
    overrides = [f"prune.rounds.r{number}.epochs=20" for number in (1, 2)]
    propose(project, file=None, overrides=["prune.rounds.r2.prev=baseline", *overrides]).apply(project)
    update_pipeline(project, read_config(project))
    return project


def _kill_the_worker_of(stage: str, *, killed: list[int]) -> None:
    """Wait until a stage is trained somewhere, then kill the worker that has started its process."""
    while not killed:
        for child in psutil.Process().children(recursive=True):
            try:
                if child.cmdline()[-1:] == [stage] and (Path(child.cwd()) / "models" / "baseline").is_dir():
                    time.sleep(0.5)
                    parent = child.ppid()
                    os.kill(parent, signal.SIGKILL)
                    killed.append(parent)
                    return
            except psutil.Error:
                continue
        time.sleep(0.02)


@pytest.fixture(scope="module")
def alone(finished_project: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The dvc.lock of the two rounds, by one process."""
    root = tmp_path_factory.mktemp("alone") / "project"
    shutil.copytree(finished_project, root, symlinks=True)
    project = _two_rounds(root)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "executable", warm.python())  # as ``forked_proofs`` does
        bring_all_up_to_date(project, bring=plainly(project), until="prune@r2")
    return (root / "dvc.lock").read_bytes()


def test_rounds_that_wait_for_the_dense_model_alone_overlap(
    project: Path, tmp_path: Path, address: str, alone: bytes, monkeypatch: pytest.MonkeyPatch, forked_proofs: None
) -> None:
    there = _two_rounds(project)
    engine(there.root, tmp_path / "remote", address, monkeypatch)
    bring_all_up_to_date(there, bring=plainly(there), until="prune@r2")
    first, second = record(there)["prune@r1"], record(there)["prune@r2"]
    assert first["worker"] != second["worker"]
    assert second["started"] < first["ended"]
    assert first["started"] < second["ended"]
    assert (project / "dvc.lock").read_bytes() == alone


def test_a_sweep_finds_the_same_points(
    project: Path, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = engine(project, tmp_path / "remote", address, monkeypatch)
    config, methods, fractions = read_config(found), ["magnitude", "gradient"], [0.8, 0.5, 0.01]
    there = run_sweep(found, config, methods=methods, kind="macs", fractions=fractions)
    here = swept(found, config, methods=methods, kind="macs", fractions=fractions)
    for values in (here, there):
        for point in values["points"]:
            del point["seconds"]
    assert there["points"] == here["points"]
    assert there["dense"] == here["dense"]
    assert list(there["calibration_s"]) == methods


def test_what_cannot_work_is_refused_before_anything_is_computed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = ("run", "-S", "prune.rounds.r2.epochs=3")
    monkeypatch.setenv("SECATEUR_ENGINE", "dusk")
    assert str(refused(project, *change)).startswith("SECATEUR_ENGINE=dusk is no engine; local, ")
    monkeypatch.setenv("SECATEUR_ENGINE", "dask:tcp://127.0.0.1:9")
    monkeypatch.setattr("secateur.engines.on_dask._CONNECT_S", 1)
    assert "nobody answers there; start a scheduler" in str(refused(project, *change))
    (project / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    assert "have the data from the DVC remote, and there is none" in str(refused(project, *change))


def test_an_engine_says_how_many_answer_and_no_key_is_sent(
    project: Path, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = engine(project, tmp_path / "remote", address, monkeypatch)
    assert require_engine(found, read_config(found)) == f"dask:{address}: 2 answer, with this secateur"
    config = project / ".dvc" / "config.local"
    config.write_text(
        "[core]\n    remote = team\n['remote \"team\"']\n    url = s3://bucket/dvc\n    secret_access_key = hush\n"
    )
    sent = config_elsewhere(DvcStore(found).remote, cache="../../cache").decode()
    assert "url = s3://bucket/dvc" in sent
    assert "hush" not in sent
    config.write_text("[core]\n    remote = team\n['remote \"team\"']\n    url = https://me:hush@host/dvc\n")
    with pytest.raises(ProjectError, match=r"^the url of the DVC remote team holds a password, which is not sent"):
        _ = DvcStore(found).remote


@pytest.mark.parametrize("kind", ["dask:1", "dask:2", "address"])
def test_shards_are_cleaned_on_workers_to_the_same_bytes(
    kind: str,
    finished_project: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = dict[str, bytes]()
    for where in ("local", "workers"):
        root = tmp_path / where
        git(tmp_path, "clone", "-q", str(finished_project), where)
        project = Project(root)
        (root / "dvc.lock").unlink()
        propose(project, file=None, overrides=["clean.shards=3"]).apply(project)
        update_pipeline(project, read_config(project))
        if where == "workers" and kind == "address":
            engine(root, tmp_path / "remote", request.getfixturevalue("address"), monkeypatch)
        elif where == "workers":
            monkeypatch.setenv("SECATEUR_ENGINE", kind)
        with monkeypatch.context() as patched:
            if where == "workers":
                patched.setattr("secateur.data.shards.PIECES", {})  # of this process
            bring_all_up_to_date(project, bring=plainly(project), until="clean")
        found[where] = (root / "dvc.lock").read_bytes()
        assert DvcStore(project).output_digests("clean") == DvcStore(Project(finished_project)).output_digests("clean")
        assert not (project.state / "shards").exists()
    assert found["workers"] == found["local"]
    assert not caplog.records


def test_a_worker_that_is_killed_with_a_shard_changes_no_byte_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    titles = [f"clean {number} of 3" for number in (1, 2, 3)]
    asked = [{"shard": name, "rules": vars(TEXT), "sign": {"num_chars": 5, "rows_in_band": 5}} for name in "abc"]
    for place in ("here", "there"):
        for name in "abc":
            write_texts(tmp_path / place / name / "came", (f"{text} {name}" for text, _ in sentences(500)))
    work_here(tmp_path / "here", "clean", "clean", asked)

    killed, setting = list[int](), read_setting("dask:2")
    with opened(setting, num_threads=1, scratch=str(tmp_path / "scratch")) as cluster:
        threading.Thread(target=_kill_who_started, args=(titles[1],), kwargs={"killed": killed}, daemon=True).start()
        work_on(cluster, setting, tmp_path / "there", "clean", "clean", asked, scratch=str(tmp_path / "scratch"))
    assert len(killed) == 1
    assert [
        line.partition(":")[0] for line in caplog.messages if "it runs again, which changes no bit" in line
    ] == titles[1:2]
    here, there = (
        {
            file.relative_to(tmp_path / place): file.read_bytes()
            for file in (tmp_path / place).rglob("*")
            if file.is_file()
        }
        for place in ("here", "there")
    )
    assert here == there
    assert len(here) == 3 * 10


def _kill_who_started(title: str, *, killed: list[int]) -> None:
    """Wait for the process of a piece of work, then kill the worker that has started it."""
    while not killed:
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if child.cmdline()[-1:] == [title]:
                    killed.append(child.ppid())
                    os.kill(killed[0], signal.SIGKILL)
                    return
        time.sleep(0.02)


@pytest.mark.parametrize("kind", ["dask", "ray"])
def test_a_killed_worker_changes_nothing(
    kind: str,
    project: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    alone: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    forked_proofs: None,
) -> None:
    there, killed = _two_rounds(project), list[int]()
    if kind == "ray":
        pytest.importorskip("ray")
        monkeypatch.setenv("SECATEUR_ENGINE", "ray:2")
    else:
        engine(there.root, tmp_path / "remote", request.getfixturevalue("address"), monkeypatch)
    threading.Thread(target=_kill_the_worker_of, args=("prune@r2",), kwargs={"killed": killed}, daemon=True).start()
    done = bring_all_up_to_date(there, bring=plainly(there), until="prune@r2")
    assert [(outcome.stage, outcome.action) for outcome in done[-2:]] == [("prune@r1", "run"), ("prune@r2", "run")]
    assert len(killed) == 1
    assert len([line for line in caplog.messages if "prune@r2" in line and "it runs again" in line]) == 1
    assert (project / "dvc.lock").read_bytes() == alone
