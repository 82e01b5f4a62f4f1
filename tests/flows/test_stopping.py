"""A signal ends a process with one line, its exit code and nobody left, whatever the main thread is doing.

Real runs under signals are in stops_by_hand.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from secateur.processes.stopping import GRACE_S
from tests.tiny import REPOSITORY

_MAIN = """
import concurrent.futures, signal, subprocess, sys, time
from secateur.processes.stopping import Stopping
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
stopping = Stopping("one line")
print("ready", flush=True)
def deaf():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            print("noise of a library", file=sys.stderr)
def waiting():
    time.sleep(60)
def in_threads():
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(time.sleep, 60).result()
def other_handler():
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # as a library puts it in the place of ours
    deaf()
def with_children():
    subprocess.run(["sh", "-c", "sleep 61 & sleep 60; true"], start_new_session=True)
def forking():
    import os
    if child := os.fork():
        os.waitpid(child, 0)
        print("the fork ended alone", flush=True)
        time.sleep(60)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
try:
    {body}()
finally:
    if stopping.asked:
        stopping.end()
"""


def _start(body: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _MAIN.replace("{body}", body)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("body", ["waiting", "deaf", "in_threads", "other_handler", "with_children"])
def test_one_line_and_nobody_left(body: str) -> None:
    """Both signals, to the process alone and to its group, at once: most of the time is the time that it is given."""
    asked = [(number, send) for number in (signal.SIGINT, signal.SIGTERM) for send in (os.kill, os.killpg)]
    started = [_start(body) for _ in asked]
    time.sleep(0.3)
    families = [psutil.Process(process.pid).children(recursive=True) for process in started]
    assert [len(children) for children in families] == [3 if body == "with_children" else 0] * len(asked)
    began = time.monotonic()
    for process, (number, send) in zip(started, asked, strict=True):
        send(process.pid, number)
    ended = [(process.communicate(timeout=60)[1], process.returncode) for process in started]
    assert time.monotonic() - began < GRACE_S + 5
    assert ended == [("one line\n", 128 + number) for number, _ in asked]
    left = [child for children in families for child in children if child.is_running()]
    assert not [child for child in left if child.status() != psutil.STATUS_ZOMBIE]


def test_a_signal_to_a_fork_is_not_one_to_its_parent() -> None:
    process = _start("forking")
    assert process.stdout is not None
    assert process.stdout.readline() == "the fork ended alone\n"
    assert process.poll() is None
    process.kill()
    assert process.communicate()[1] == ""


_SCHEDULE = """
import asyncio, multiprocessing, signal, time
from secateur.scheduling.schedule import _run_until_signal
class Runner:  # as Prefect's: asked to end, it waits for its run
    async def start(self):
        signal.signal(signal.SIGTERM, self.handle_sigterm)
        run = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
        run.start()
        print("ready", flush=True)
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.to_thread(run.join)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
_run_until_signal(Runner())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_schedule_does_not_wait_for_its_run(number: int) -> None:
    schedule = subprocess.Popen(
        [sys.executable, "-c", _SCHEDULE], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert schedule.stdout is not None
    assert schedule.stdout.readline() == "ready\n"
    children = psutil.Process(schedule.pid).children()
    assert children
    began = time.monotonic()
    schedule.send_signal(number)
    said = schedule.communicate(timeout=90)[1]
    assert time.monotonic() - began < 10
    assert (schedule.returncode, said) == (0, "")
    assert not psutil.wait_procs(children, timeout=10)[1]


def test_the_command_line_says_how_to_go_on(project: Path) -> None:
    """A run that is waiting for a server which never answers."""
    import socket

    from tests.tiny import environment

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        api = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        run = subprocess.Popen(
            [sys.executable, "-m", "secateur.cli", "run", "-S", "evaluate.bootstrap_samples=120"],
            cwd=project,
            env=environment() | {"PREFECT_API_URL": api},
            stderr=subprocess.PIPE,
            text=True,
        )
        silent.settimeout(120)
        silent.accept()
        run.send_signal(signal.SIGTERM)
        assert run.stderr is not None
        said = run.stderr.read().splitlines()
        assert run.wait(timeout=20) == 143
    assert said[-1] == "secateur: interrupted; finished stages are kept, `secateur run` goes on from there"
    expected = ("▸", "not committed: params.yaml; what is registered now cannot be rebuilt")
    assert [line for line in said if not line.startswith(expected)] == said[-1:]
