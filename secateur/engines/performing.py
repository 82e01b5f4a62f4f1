"""What a worker does: it makes a folder, runs the module there in a process of its own, and passes on its answer.

A process of its own because the bits of a training depend on the state of the process, which on a worker is anybody's;
it ends when the worker does. Dask and Ray import this module on the worker by its name: no code is sent.
"""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import secateur
from secateur.engines.base import Answer, Installed, Work
from secateur.engines.scratch import scratch_folder
from secateur.processes.environment import ENVIRONMENT

ANSWER = "answer.json"
"""Where the module leaves its answer, in its folder: ``{"said": ...}`` or ``{"refused": [name, line]}``."""

_TOLD = 3
"""Last lines of what it printed that are told when it failed."""


def installed() -> Installed:
    """Return the package of this process."""
    return Installed(secateur.__version__, _digest_of(Path(str(secateur.__file__)).parent))


@cache
def _digest_of(package: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(package).as_posix()} ".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def difference(here: Installed, there: Installed) -> str | None:
    """Say in words in what the package on a worker differs from the one here."""
    if here.version != there.version:
        return f"has secateur {there.version}, and here is {here.version}"
    if here.code != there.code:
        return f"has other code of secateur {there.version} ({there.code}, here {here.code})"
    return None


def perform(work: Work) -> Answer:
    """Do a piece of work on this machine; nothing is raised that a worker could not pass on."""
    started, worker = time.time(), f"{socket.gethostname()}, process {os.getpid()}"
    other = difference(work.installed, installed())
    if other is not None:
        line = f"{work.title}: the worker {worker} {other}; install the same on both"
        return Answer(worker, started, time.time(), refused=("ProjectError", line))
    try:
        code, printed, found = _in_a_folder(work, worker)
    except OSError as error:
        return Answer(worker, started, time.time(), failed=f"ended with {type(error).__name__}: {error}")
    if "refused" in found:
        name, line = found["refused"]
        return Answer(worker, started, time.time(), refused=(name, line))
    if code == 0 and "said" in found:
        return Answer(worker, started, time.time(), said=found["said"])
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    return Answer(worker, started, time.time(), failed=f"{how}: {printed}", killed=code < 0)


def _in_a_folder(work: Work, worker: str) -> tuple[int, str, Mapping[str, Any]]:
    """Return the exit code of the module, the last lines of what it printed, and its answer."""
    with scratch_folder(work.scratch) as folder:
        for name, content in work.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        code, printed = _run(work, folder, worker)
        return code, printed, _read(folder / ANSWER)


def _run(work: Work, folder: Path, worker: str) -> tuple[int, str]:
    """Return the exit code and the last lines of what was printed."""
    log = folder / "output.log"
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", work.module, work.title],  # the title is for whoever looks at processes
            cwd=folder,
            env={**ENVIRONMENT, **os.environ},
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdin is not None  # a pipe
        try:
            process.stdin.write(json.dumps({**work.asked, "worker": worker}) + "\n")
            process.stdin.flush()
            code = process.wait()  # the pipe stays open: it closes, and ends the process, when this one is killed
        except BrokenPipeError:
            code = process.wait()
        finally:
            process.kill()
            with suppress(BrokenPipeError):
                process.stdin.close()
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return code, " / ".join(lines[-_TOLD:]) or "it printed nothing"


def _read(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
