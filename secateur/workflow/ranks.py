"""The body of a stage in several processes (``run.processes``): they are started, watched, and end together.

A stage has a folder of its own in ``.secateur/processes/``, written anew every time: what each process says
(``0.log``), what it refuses (``0.json``), and what others than the first write, which is removed (``1/``).
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from secateur import errors
from secateur.errors import CheckFailed, SecateurError
from secateur.files import remove
from secateur.identity.key import Identity
from secateur.processes.child_server import HOST, free_port
from secateur.workflow.project import Project
from secateur.workflow.stage import Stage

_WATCH_S = 0.05


def run_in_processes(
    project: Project, stage: Stage, identity: Identity, *, count: int, outputs: Mapping[str, Path]
) -> None:
    """Run the body of a stage in ``count`` processes, of which the first writes the outputs.

    Raises:
        SecateurError: what the body has refused.
        CheckFailed: one of them was killed, or ended in a way that no line says; all have ended then.
    """
    folder = project.state / "processes" / stage.address
    remove(folder)
    folder.mkdir(parents=True)
    asked = {"root": str(project.root), "stage": stage.address, "identity": asdict(identity), "folder": str(folder)}
    asked |= {"outputs": {name: str(path) for name, path in outputs.items()}}
    try:
        with _started(asked, count=count) as processes:
            ended = _first_failures(processes)
    finally:
        for rank in range(1, count):
            remove(folder / str(rank))
    tell(project, stage, ended, count=count, folder=folder)


@contextmanager
def _started(asked: Mapping[str, object], *, count: int) -> Iterator[list["subprocess.Popen[str]"]]:
    """Start a process for every rank; none is left afterwards."""
    meeting = {"MASTER_ADDR": HOST, "MASTER_PORT": str(free_port())}
    world = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    processes: list[subprocess.Popen[str]] = []
    try:
        for rank in range(count):
            with Path(str(asked["folder"]), f"{rank}.log").open("w", encoding="utf-8") as file:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "secateur.workflow.rank"],
                    cwd=str(asked["root"]),
                    env={**os.environ, **meeting, **world, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdin=subprocess.PIPE,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C ends this process first, which ends them
                    text=True,
                )
            processes.append(process)
            assert process.stdin is not None  # a pipe
            with suppress(BrokenPipeError):  # it has ended, which is noticed below
                process.stdin.write(json.dumps(asked) + "\n")
                process.stdin.flush()
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()


def _first_failures(processes: list["subprocess.Popen[str]"]) -> dict[int, int]:
    """Wait until all have ended well, or some have not: rank -> exit code of those, before the others lose them."""
    while True:
        running = [process.poll() is None for process in processes]
        failed = {rank: process.returncode for rank, process in enumerate(processes) if process.returncode}
        if failed or not any(running):
            return failed
        time.sleep(_WATCH_S)


def tell(project: Project, stage: Stage, failed: Mapping[int, int], *, count: int, folder: Path) -> None:
    """Raise what ended the processes, if something did.

    Args:
        project: whose.
        stage: what they ran.
        failed: rank -> exit code of those that ended badly.
        count: of them all.
        folder: where they have said what they refuse.

    Raises:
        SecateurError: what one of them refused.
        CheckFailed: one of them ended in another way.
    """
    for rank, code in failed.items():
        if (refusal := folder / f"{rank}.json").is_file():
            name, line = json.loads(refusal.read_text(encoding="utf-8"))
            raise getattr(errors, name, SecateurError)(line)
        how = f"was killed (signal {-code})" if code < 0 else f"ended with {code}"
        log = (folder / f"{rank}.log").relative_to(project.root)
        raise CheckFailed(
            f"{stage.address}: process {rank + 1} of {count} {how}, and the others were ended; nothing was replaced, "
            f"and `secateur run` goes on from here; {log} has what it said"
        )
