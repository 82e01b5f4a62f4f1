"""``secateur serve`` and ``mlflow models serve`` as processes: signals, exit codes, one line."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from secateur.cli import cli
from secateur.errors import CheckFailed, CheckpointError, SecateurError
from secateur.inference.prediction import Predictor
from tests.integration.in_process import refused
from tests.integration.registry_stand import Stand
from tests.tiny import environment


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    made = Stand(tmp_path_factory.mktemp("serve") / "project")
    made.register("baseline")
    return made


@contextmanager
def _served(stand: Stand, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "secateur.cli", "serve", *arguments, "--port", "0", "--json"],
        cwd=stand.root,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield json.loads(line)["url"], process
    finally:
        process.kill()
        process.communicate()


def test_sigterm_finishes_what_is_open_and_ends_with_0(stand: Stand) -> None:
    with _served(stand, "models:/tiny@challenger") as (url, process):
        address = urlsplit(url)
        assert httpx.post(f"{url}/predict", json={"texts": "a good day"}, timeout=30).json()["model"]["version"] == "1"
        body = b'{"texts": ["a good day"]}'
        headers = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
            connection.sendall(f"POST /predict HTTP/1.1\r\n{headers}\r\n\r\n".encode() + body[:5])
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            _wait_until_refused(address.hostname or "", address.port or 0)
            connection.sendall(body[5:])
            answer = b""
            while part := connection.recv(10_000):
                answer += part
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"connection: close" in answer.lower(), "a client that keeps its connection is told to leave"
        assert b'"label"' in answer
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0
        assert said.splitlines()[-1] == "no longer answering"
        assert "Traceback" not in said


def _wait_until_refused(host: str, port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection((host, port), timeout=5).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.05)
    raise AssertionError("it still lets connections in")


def test_two_processes_answer_at_one_port_and_add_up_their_figures(stand: Stand) -> None:
    with _served(stand, "models:/tiny/1", "--workers", "2") as (url, process):
        for _ in range(6):
            # A new connection each time, so that the kernel chooses a process each time.
            assert httpx.post(f"{url}/predict", json={"texts": "a good day"}, timeout=60).status_code == 200
        metrics = httpx.get(f"{url}/metrics", timeout=30).text
        assert 'secateur_requests_total{route="/predict",status="200"} 6.0' in metrics
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["models:/tiny@champion"], "there is no champion yet: `secateur models promote` makes one"),
        (["models:/nobody/1"], "no registered model nobody; registered are: tiny"),
        (["models:/tiny/7"], "models:/tiny/7: model tiny has no such version or alias; found 1"),
        (["nowhere"], "nowhere does not exist; a checkpoint is a folder with card.json"),
        (["tiny-bert"], "tiny-bert is not a checkpoint: it has no card.json"),
        (["models:/tiny/1", "--host", "host.invalid"], "cannot listen on host.invalid port 8000"),
    ],
)
def test_what_cannot_be_served_is_told_before_the_port_opens(stand: Stand, arguments: list[str], message: str) -> None:
    assert message in str(refused(stand.root, "serve", *arguments))


def test_a_port_in_use_is_told_before_the_model_is_loaded(stand: Stand) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = refused(stand.root, "serve", "models:/nobody/1", "--port", str(port))
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in str(error)
    assert "port 0 takes a free one" in str(error)


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "card.json", "MLmodel"])
def test_a_changed_byte_in_any_registered_file_is_refused(stand: Stand, file: str) -> None:
    path = stand.stored("1", file)
    intact = path.read_bytes()
    # A digit of a name or a number: the file stays readable.
    place = max(intact.rfind(b"1"), 0)
    path.write_bytes(intact[:place] + b"2" + intact[place + 1 :])
    try:
        for command in (["serve", "models:/tiny/1", "--port", "0"], ["predict", "models:/tiny/1", "a text"]):
            with chdir(stand.root), pytest.raises(SecateurError) as caught:
                cli.main(command, standalone_mode=False)
            assert isinstance(caught.value, CheckFailed)
            assert caught.value.exit_code == 1
            assert f"{path} differs from" in str(caught.value)
    finally:
        path.write_bytes(intact)


def test_a_folder_is_served_outside_a_project(stand: Stand, tmp_path: Path) -> None:
    folder = stand.registry.checkpoint("models:/tiny/1")
    with chdir(tmp_path), pytest.raises(SecateurError, match="no project here"):
        cli.main(["serve", "models:/tiny/1", "--port", "0"], standalone_mode=False)
    (folder / "planted.json").write_text("{}")
    try:
        with chdir(tmp_path), pytest.raises(CheckpointError, match=r"planted\.json belongs to no registered file"):
            cli.main(["serve", str(folder), "--port", "0"], standalone_mode=False)
    finally:
        (folder / "planted.json").unlink()


def test_mlflow_serves_a_registered_version(stand: Stand, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["models", "serve", "-m", "models:/tiny/1", "--env-manager", "local", "-p", str(port)]
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *arguments],
        cwd=tmp_path,
        env={**environment(), "MLFLOW_TRACKING_URI": stand.registry.uri},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, (tmp_path / "log").read_text()
            try:
                httpx.get(f"{url}/ping", timeout=5).raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.1)
        texts = ["a good day", "my bad house"]
        answered = httpx.post(f"{url}/invocations", json={"inputs": texts}, timeout=30).json()["predictions"]
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)
        log.close()
    expected = Predictor.load(stand.registry.checkpoint("models:/tiny/1")).predict(texts)
    assert [row["label"] for row in answered] == [p.label for p in expected]
    assert [row["score"] for row in answered] == pytest.approx([p.score for p in expected], abs=1e-5)
