"""The body of a stage in several processes (``run.processes``): they are started, watched, and end together."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from secateur import errors
from secateur.errors import CheckFailed, SecateurError
from secateur.identity.key import Identity
from secateur.processes.child_server import HOST, free_port
from secateur.workflow.project import Project
from secateur.workflow.stage import Stage

_WATCH_S = 0.05
_LAST_WORDS_S = 5.0
"""How long the others may end by themselves when one has ended badly: what it says first may be their loss alone."""


def run_in_processes(
    project: Project, stage: Stage, identity: Identity, *, count: int, outputs: Mapping[str, Path]
) -> None:
    """Run the body of a stage in ``count`` processes, of which the first writes the outputs.

    What they say lies in ``.secateur/processes/``, a file each.

    Raises:
        SecateurError: what the body has refused.
        CheckFailed: one of them was killed, or ended in a way that no line says; all have ended then.
    """
    project.state.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=project.state) as folder:
        refusals = [Path(folder) / f"{rank}.json" for rank in range(count)]
        with _started(project, stage, identity, outputs=outputs, refusals=refusals) as processes:
            while any(process.poll() is None for process in processes):
                if any(process.poll() for process in processes):
                    _let_end(processes)
                    break
                time.sleep(_WATCH_S)
        _tell(project, stage, [process.returncode for process in processes], refusals)


@contextmanager
def _started(
    project: Project, stage: Stage, identity: Identity, *, outputs: Mapping[str, Path], refusals: list[Path]
) -> Iterator[list["subprocess.Popen[str]"]]:
    """Start a process for every rank; none is left afterwards."""
    meeting = {"MASTER_ADDR": HOST, "MASTER_PORT": str(free_port())}
    world = {"WORLD_SIZE": str(len(refusals)), "LOCAL_WORLD_SIZE": str(len(refusals))}
    processes: list[subprocess.Popen[str]] = []
    try:
        for rank, refusal in enumerate(refusals):
            log = log_of(project, stage, rank)
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("w", encoding="utf-8") as file:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "secateur.workflow.rank"],
                    cwd=project.root,
                    env={**os.environ, **meeting, **world, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdin=subprocess.PIPE,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C ends this process first, which ends them
                    text=True,
                )
            processes.append(process)
            asked = {"root": str(project.root), "stage": stage.address, "identity": asdict(identity)}
            asked |= {"outputs": {name: str(path) for name, path in outputs.items()}, "error": str(refusal)}
            assert process.stdin is not None  # a pipe
            with suppress(BrokenPipeError):  # it has ended, which is told below
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


def log_of(project: Project, stage: Stage, rank: int) -> Path:
    """Return where a process of a stage says what it does."""
    return project.state / "processes" / f"{stage.address}.{rank}.log"


def _let_end(processes: list["subprocess.Popen[str]"]) -> None:
    deadline = time.monotonic() + _LAST_WORDS_S
    while time.monotonic() < deadline and any(process.poll() is None for process in processes):
        time.sleep(_WATCH_S)


def _tell(project: Project, stage: Stage, codes: list[int | None], refusals: list[Path]) -> None:
    """Raise what ended the processes, if something did: first what one of them refused, then the kill of one."""
    for refusal in refusals:
        if refusal.is_file():
            name, line = json.loads(refusal.read_text(encoding="utf-8"))
            kind = getattr(errors, name, SecateurError)
            raise kind(line)
    failed = {rank: code for rank, code in enumerate(codes) if code}
    if not failed:
        return
    # Whoever loses another one ends with 1; the signal of a kill says more, but for ours on who was left waiting.
    rank = min(failed, key=lambda rank: (failed[rank] or 0) > 0)
    code = failed[rank] or 0
    how = f"was killed (signal {-code})" if code < 0 else f"ended with {code}"
    raise CheckFailed(
        f"{stage.address}: process {rank + 1} of {len(codes)} {how}, and the others were ended; nothing was replaced, "
        f"and `secateur run` goes on from here; {log_of(project, stage, rank).relative_to(project.root)} says more"
    )
