"""What the workers of the tests share: made once, ended with the last of them, however that one ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.tiny import REPOSITORY

_WORKER = """
import subprocess, sys
from pathlib import Path
from tests.shared import held, join, once

def start(folder):
    pipe = held()
    child = subprocess.Popen(["cat"], stdin=pipe, stdout=subprocess.DEVNULL, start_new_session=True)
    return str(child.pid)

join(Path(sys.argv[1]))
print(once("child", start), flush=True)
sys.stdin.read()
"""


def _worker(folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", _WORKER, str(folder)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    except FileNotFoundError:
        return False


def test_a_process_is_started_once_and_ends_with_the_last_worker_even_if_that_is_killed(tmp_path: Path) -> None:
    workers = [_worker(tmp_path) for _ in "123"]
    told = {int(worker.stdout.readline()) for worker in workers if worker.stdout}
    [child] = told
    for worker in workers[:2]:
        worker.communicate()
    time.sleep(0.5)
    assert _running(child)
    workers[2].send_signal(signal.SIGKILL)
    workers[2].communicate()
    for _ in range(100):
        if not _running(child):
            break
        time.sleep(0.05)
    assert not _running(child)
