"""The services of a team: real servers, a build, a promotion, and a rebuild in somebody else's clone.

What starts servers is marked ``team`` and run by ``make test-team``.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.postgres import find_binaries
from deploy.processes import claim_port
from deploy.services import BUCKET, require_packages
from secateur.errors import ProjectError
from secateur.workflow.chain import bring_all_up_to_date, plainly
from secateur.workflow.dvc_store import DvcStore
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from secateur.workflow.stages import find_stage
from tests.tiny import REPOSITORY, dvc, environment, git, make_project, secateur

SMALL: dict[str, Any] = {
    "baseline.epochs": 3,
    "prune.schedule": {"shape": "cubic", "steps": 1},
    "prune.rounds": {"r1": {"prev": "baseline", "action": None, "budget": None, "epochs": None, "learning_rate": None}},
}


def _team(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=False)


class Servers:
    """``make team`` with free ports, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "deploy", "up", "--json", "--folder", str(self.folder)),
                *("--mlflow-port", "0", "--prefect-port", "0", "--s3-port", "0"),
            ],
            cwd=REPOSITORY,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        said = self.process.stdout.readline()
        assert said, self.process.stderr.read()
        self.addresses = json.loads(said)
        self.variables: dict[str, str] = self.addresses["variables"]
        self.pids: list[int] = list(json.loads((self.folder / "servers.json").read_text())["pids"].values())

    def listening(self) -> list[str]:
        return [name for name in ("mlflow", "prefect", "s3") if _listens(self.addresses[name])]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, _homes: None) -> Iterator[Servers]:
    try:
        find_binaries()
        require_packages()
    except ProjectError as error:
        pytest.skip(str(error))
    started = Servers(tmp_path_factory.mktemp("team"))
    yield started
    if started.process.poll() is None:
        started.process.terminate()
        started.process.wait(timeout=90)
    shutil.rmtree(started.addresses["data"], ignore_errors=True)


@pytest.fixture(scope="module")
def built(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny project whose first run went to the shared services."""
    root = make_project(tmp_path_factory.mktemp("first") / "project", changes=SMALL)
    dvc(root, "remote", "add", "--default", "team", f"s3://{BUCKET}/dvc")
    git(root, "commit", "-qam", "the remote of the team")
    secateur(root, "run", "--commit", cold=True, env=servers.variables)
    dvc(root, "push", "--run-cache", cold=True, env=servers.variables)
    return root


@pytest.fixture(scope="module")
def clone(servers: Servers, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a colleague has: git, the addresses, nothing else."""
    root = tmp_path_factory.mktemp("second") / "project"
    subprocess.run(["git", "clone", "-q", str(built), str(root)], check=True)
    assert not (root / "data").exists()
    assert not (root / ".dvc" / "cache").exists()
    return root


def _listens(url: str) -> bool:
    host, _, port = url.removesuffix("/api").removeprefix("http://").partition(":")
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((host, int(port))) == 0


def _objects(servers: Servers) -> list[str]:
    import boto3

    names = {"AWS_ACCESS_KEY_ID": "aws_access_key_id", "AWS_SECRET_ACCESS_KEY": "aws_secret_access_key"}
    keys = {names[name]: value for name, value in servers.variables.items() if name in names}
    client = boto3.client("s3", endpoint_url=servers.addresses["s3"], region_name="us-east-1", **keys)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def _query(servers: Servers, database: str, statement: str) -> list[tuple[Any, ...]]:
    import psycopg2

    connection = psycopg2.connect(dbname=database, user="secateur", host=servers.addresses["postgres"])
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())
    finally:
        connection.close()


@pytest.mark.team
def test_a_build_goes_to_the_shared_services_and_nowhere_else(servers: Servers, built: Path) -> None:
    stored = _objects(servers)
    assert sum(key.startswith("mlflow/") and key.endswith("/model.safetensors") for key in stored) == 2
    assert any(key.startswith("dvc/files/md5/") for key in stored)
    assert not (built / "mlflow.db").exists()
    assert not (built / "mlruns").exists()
    rows = _query(servers, "mlflow", "SELECT name, version FROM model_versions ORDER BY version")
    assert rows == [("tiny", 1), ("tiny", 2)]
    states = _query(servers, "prefect", "SELECT f.name, r.state_type FROM flow_run r JOIN flow f ON f.id = r.flow_id")
    assert [state for _, state in states] == ["COMPLETED"]
    request = urllib.request.Request(
        f"{servers.addresses['prefect']}/flow_runs/filter", data=b"{}", headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        assert len(json.load(answer)) == len(states)
    assert git(built, "status", "--porcelain") == ""


@pytest.mark.team
def test_promoted_here_it_is_checked_and_answers_and_is_rebuilt_there(
    servers: Servers, built: Path, clone: Path
) -> None:
    secateur(built, "models", "promote", "models:/tiny@challenger", cold=True, env=servers.variables)
    secateur(clone, "models", "verify", "models:/tiny@champion", cold=True, env=servers.variables)
    said = secateur(
        clone, "predict", "models:/tiny@champion", "a good day", "--json", cold=True, env=servers.variables
    ).stdout
    assert '"label"' in said
    done = json.loads(
        secateur(
            clone, "models", "reproduce", "models:/tiny@champion", "--json", cold=True, env=servers.variables
        ).stdout
    )
    assert (done["verdict"], done["comparison"]) == ("bit-identical", None)
    assert next(iter(done["stages"])) == "clean"
    assert done["files"]["model.safetensors"] is True
    assert git(clone, "status", "--porcelain") == ""


@pytest.fixture
def worker(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Dask worker whose stages cannot enter a folder that is closed, and whose scratch folder is its own."""
    distributed = pytest.importorskip("distributed")
    if os.getuid() != 0:
        pytest.skip("takes root: a process of it that gives up its capabilities sees less than one that keeps them")
    for name, value in servers.variables.items():
        monkeypatch.setenv(name, value)

    def confine(scratch: str) -> int:  # here, so that it is sent as it stands
        import ctypes
        import tempfile

        tempfile.tempdir = scratch
        drop, enter_any, read_any = 24, 1, 2  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        return sum(ctypes.CDLL(None).prctl(drop, number, 0, 0, 0) for number in (enter_any, read_any))

    (tmp_path / "scratch").mkdir()
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0, silence_logs=50
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        if set(client.run(confine, str(tmp_path / "scratch")).values()) != {0}:
            pytest.skip("the kernel takes no capability from a process here")
        yield cluster.scheduler_address


def _seen_by_a_child_of(worker: str, project: Path) -> tuple[bool, ...]:
    """Tell whether a process that a worker starts can look into the project, and into the worker's scratch folder."""
    import distributed

    def seen(folder: str) -> tuple[bool, ...]:  # here, so that it is sent as it stands
        import subprocess
        import sys
        import tempfile

        def can_look(place: str) -> bool:
            look = [sys.executable, "-c", "import os, sys; os.listdir(sys.argv[1])", place]
            return subprocess.run(look, stderr=subprocess.DEVNULL, check=False).returncode == 0

        return tuple(map(can_look, (folder, tempfile.gettempdir())))

    with distributed.Client(worker, set_as_default=False) as client:
        (found,) = client.run(seen, str(project)).values()
    return tuple(found)


@pytest.mark.team
def test_a_worker_that_shares_only_the_remote_comes_to_the_same_dvc_lock(
    servers: Servers, built: Path, worker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "closed" / "project"
    git(tmp_path, "clone", "-q", str(built), str(root))
    dvc(root, "remote", "modify", "--local", "team", "url", f"s3://{BUCKET}/worker")
    (root / "dvc.lock").unlink()
    root.parent.chmod(0)  # nobody enters who has no capability for it
    monkeypatch.setenv("SECATEUR_ENGINE", f"dask:{worker}")
    assert _seen_by_a_child_of(worker, root) == (False, True), "the project, and the scratch folder"
    project = Project(root)
    done = bring_all_up_to_date(project, bring=plainly(project), until="prune@r1")
    assert {outcome.action for outcome in done} == {"run"}
    assert (built / "dvc.lock").read_bytes().startswith((root / "dvc.lock").read_bytes())

    ran = json.loads((project.state / "engine.json").read_text())
    assert list(ran) == ["baseline", "prune@r1"]
    assert not any(str(os.getpid()) in entry["worker"] for entry in ran.values())
    pushed = {key.removeprefix("worker/files/md5/").replace("/", "") for key in _objects(servers)}
    store, config = DvcStore(project), read_config(project)
    for stage in (find_stage(config, root, address) for address in ran):
        assert {*store.output_digests(stage.address).values()} <= pushed
    assert {*store.output_digests("clean").values()} & pushed, "what the worker reads was pushed by this machine"


@pytest.mark.team
def test_a_second_set_up_in_the_same_folder_is_refused(servers: Servers) -> None:
    second = _team("up", "--folder", str(servers.folder))
    assert second.returncode == 2
    assert second.stderr == f"team: a team set-up runs with {servers.folder} already; `make team-down` ends it\n"


@pytest.mark.team
def test_everything_ends_and_is_there_again_after_the_next_start(servers: Servers, clone: Path) -> None:
    assert servers.listening() == ["mlflow", "prefect", "s3"]
    stored = _objects(servers)
    socket_folder = Path(servers.addresses["postgres"])
    assert _team("down", "--folder", str(servers.folder)).stdout == "ended\n"
    assert servers.process.wait(timeout=10) == 0
    assert servers.listening() == []
    assert not any(_alive(pid) for pid in servers.pids)
    assert not socket_folder.exists()
    assert not (servers.folder / "environment.sh").exists()
    assert _team("down", "--folder", str(servers.folder)).stdout == "no team set-up runs here\n"

    servers.start()
    assert _objects(servers) == stored
    shutil.rmtree(clone / ".secateur")  # its copies of the champion
    secateur(clone, "predict", "models:/tiny@champion", "a good day", cold=True, env=servers.variables)


@pytest.mark.team
def test_a_kill_leaves_no_server_behind(servers: Servers) -> None:
    servers.process.send_signal(signal.SIGKILL)
    servers.process.wait()
    deadline = time.monotonic() + 60
    while any(_alive(pid) for pid in servers.pids) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(_alive(pid) for pid in servers.pids)
    assert servers.listening() == []


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_machine_without_postgresql_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=rf"no initdb on PATH or in {tmp_path}/\*/bin; .*apt-get install postgresql"):
        find_binaries(path=str(tmp_path), places=(tmp_path,))


def test_an_old_postgresql_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "11" / "bin"
    folder.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        (folder / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 11.9'\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    with pytest.raises(ProjectError, match=r"PostgreSQL 13 or newer is needed, found postgres \(PostgreSQL\) 11\.9"):
        find_binaries(path="", places=(tmp_path,))


def test_a_port_that_is_taken_is_named_with_its_option() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ProjectError, match=f"port {port} of 127.0.0.1 is taken .* with --s3-port N, 0 is a free"):
            claim_port(port, option="--s3-port")


@pytest.mark.parametrize("command", [["models", "list"], ["predict", "models:/tiny@champion", "text"]])
def test_a_tracking_server_that_is_not_there_is_one_line(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    git(tmp_path, "init", "-q")
    address = f"127.0.0.1:{claim_port(0, option='')}"
    environment_ = {"PYTHONPATH": str(REPOSITORY), "MLFLOW_TRACKING_URI": f"http://me:hidden@{address}"}
    done = secateur(tmp_path, *command, check=False, env=environment_)
    assert done.returncode == 2
    assert done.stderr.startswith(f"secateur: MLFLOW_TRACKING_URI=http://{address} does not answer (")
    assert len(done.stderr.splitlines()) == 1
    assert "hidden" not in done.stderr


def test_objects_outlive_the_process_that_held_them(tmp_path: Path) -> None:
    pytest.importorskip("moto")
    from moto.s3.models import s3_backends
    from moto.server import create_backend_app
    from werkzeug.test import Client

    from deploy.object_store import KeptObjects

    client = Client(KeptObjects(create_backend_app("s3"), tmp_path))
    client.put("/box")
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=nobody/20260101/us-east-1/s3/aws4_request"}
    contents = {"a": b"1", "a/b": b"2", "with space/%41.x": b"3", "grün/..": b"4", "gone": b"5"}
    for key, body in contents.items():
        assert client.put(f"/box/{key.replace('%', '%25')}", data=body).status_code == 200
    client.delete("/box/gone")
    del contents["gone"]
    s3_backends.reset()

    again = Client(KeptObjects(create_backend_app("s3"), tmp_path))
    for key, body in contents.items():
        assert again.get(f"/box/{key.replace('%', '%25')}", headers=signed).get_data() == body
    assert again.get("/box/gone", headers=signed).status_code == 404
    assert not list(tmp_path.rglob("*new"))
