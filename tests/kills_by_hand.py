"""Faults of the real ``secateur run``, by hand: ``python -m tests.kills_by_hand FOLDER --random 100 --lock 20``.

A tiny project is prepared once: finished, then with changed parameters that make every stage but ingest stale. For each
kill it is copied, ``secateur run`` is started on the command line and ended by kill -9 (the process alone or its whole
group, by lot), and ``secateur run`` alone must come to the bytes of an undisturbed run. Random kills come at a moment
drawn from the time of an undisturbed run. Those at dvc.lock come while it is written: by ``secateur run``, when there
is a file beside it, or by ``dvc repro``, which empties it. Each is a process anew; ``tests.faults_in_commands`` has
more faults for the time.

All runs share one Prefect server, as those of a team do; with ``--own-server`` each starts its own, as a single user's
does, for 10 s more. Prints one line of JSON per kill, and fails when one does not resume. ``FOLDER/kills.jsonl`` keeps
them, so that a campaign goes on where it was stopped.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.fault_log import FaultLog
from tests.tiny import environment, make_project, secateur, write_params

Aim = Literal["random", "lock by run", "lock by dvc repro"]
State = Literal["whole", "whole, a new one beside it", "cut", "empty", "missed"]

CHANGES = {"clean.near_duplicate_threshold": 0.96, "baseline.epochs": 2, "evaluate.bootstrap_samples": 110}
_COMPARED = ("data", "models", "reports/metrics.json", "reports/details.json", "reports/training", "dvc.lock")
_PATIENCE_SECONDS = 600.0


@dataclass(frozen=True)
class Kill:
    """One kill and what came of it.

    Attributes:
        aim: what was waited for.
        group: the whole process group was killed, not the main process alone.
        seconds: after the start.
        lock: what it left of dvc.lock; it was ``missed`` when the run had ended before.
        said: what the next run told about it.
        different: the files that differ from an undisturbed run; a kill that is resumed leaves none.
    """

    aim: Aim
    group: bool
    seconds: float
    lock: State
    said: str
    different: tuple[str, ...]


def contents(root: Path) -> dict[str, str]:
    """Return path -> sha256 of everything that stages store, and of what a killed writer left beside it."""
    files = [file for name in _COMPARED for file in ((root / name), *(root / name).rglob("*")) if file.is_file()]
    files += [file for file in root.glob(".*.new") if file.is_file()]
    return {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def kill_and_resume(root: Path, *, aim: Aim, after: float, group: bool, whole: Mapping[str, str]) -> Kill:
    """Start a run, kill it, run again and compare.

    Args:
        root: a project with something to do; it is used up.
        aim: what to wait for.
        after: seconds to wait; for a random kill from the start, else from the first stage's end on.
        group: kill the process group, not only the main process.
        whole: ``contents`` after an undisturbed run.
    """
    before = (root / "dvc.lock").read_bytes()
    module = ["dvc", "repro"] if aim == "lock by dvc repro" else ["secateur.cli", "run"]
    started = time.monotonic()
    run = subprocess.Popen(
        [sys.executable, "-m", *module],
        cwd=root,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _wait(_moment(root, aim, len(before), due=started + after), run)
    seconds, missed = time.monotonic() - started, run.poll() is not None
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if group else os.kill)(run.pid, signal.SIGKILL)
    run.wait()
    state: State = "missed" if missed else _state(root)
    said, different = _resume(root, whole)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)  # children of a main process that was killed alone
    return Kill(aim, group, round(seconds, 2), state, said, different)


def _resume(root: Path, whole: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Run, and return what it told, and which files differ from an undisturbed run."""
    resumed = secateur(root, "run", "--json", check=False)
    said = [line for line in resumed.stderr.splitlines() if line.startswith("secateur: ")]
    after_all = contents(root)
    different = sorted({name for name, _ in set(whole.items()) ^ set(after_all.items())})
    if resumed.returncode != 0:
        different.append(f"exit {resumed.returncode}")
    return " ".join(said), tuple(different)


def _state(root: Path) -> State:
    left = (root / "dvc.lock").read_bytes()
    if left.endswith(b"\n"):
        return "whole, a new one beside it" if (root / ".dvc.lock.new").exists() else "whole"
    return "cut" if left else "empty"


def _moment(root: Path, aim: Aim, size: int, *, due: float) -> Callable[[], bool]:
    lock, beside = root / "dvc.lock", root / ".dvc.lock.new"
    if aim == "random":
        return lambda: time.monotonic() >= due
    if aim == "lock by run":
        return lambda: beside.exists() and time.monotonic() >= due
    return lambda: lock.stat().st_size < size // 2 and time.monotonic() >= due


def _wait(reached: Callable[[], bool], run: subprocess.Popen[bytes]) -> None:
    """Return when the moment is there, or the run has ended without it."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not reached() and run.poll() is None:
        assert time.monotonic() < deadline, "the moment to kill at did not come"
        time.sleep(0.0002)


def prepare(folder: Path) -> tuple[Path, dict[str, str], float]:
    """Return a finished project with changed parameters, ``contents`` after an undisturbed run, and its seconds."""
    project, undisturbed = folder / "project", folder / "undisturbed.json"
    if not undisturbed.exists():
        shutil.rmtree(project, ignore_errors=True)
        secateur(make_project(project, changes={"baseline.epochs": 3}), "run")
        write_params(project / "params.yaml", CHANGES)
        copy = copied(project, folder / "undisturbed")
        started = time.monotonic()
        secateur(copy, "run")
        seconds = time.monotonic() - started
        undisturbed.write_text(json.dumps({"contents": contents(copy), "seconds": seconds}))
    known = json.loads(undisturbed.read_text())
    return project, known["contents"], float(known["seconds"])


def copied(project: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(project, to, symlinks=True)
    return to


def at_home_in(folder: Path) -> None:
    """Make a folder, and keep what libraries write for their user in it."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"PREFECT_HOME": str(folder / "prefect"), "DO_NOT_TRACK": "1", "DVC_NO_ANALYTICS": "1"}
    os.environ |= {"HF_HUB_OFFLINE": "1", "PREFECT_SERVER_EPHEMERAL_ENABLED": "false", "OMP_NUM_THREADS": "1"}


@contextlib.contextmanager
def one_server(home: Path) -> Iterator[None]:
    """Run a Prefect server for all runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port, "--no-ui"]
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen([sys.executable, *command], stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}/api"
    try:
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2):
                break
            time.sleep(0.5)
        os.environ["PREFECT_API_URL"] = url
        yield
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        server.terminate()
        server.wait(timeout=60)


def _campaign(folder: Path, *, wanted: Mapping[Aim, int], seed: int, minutes: float) -> list[Kill]:
    """Do what is left of a campaign, as far as the minutes go; return the kills of all its parts."""
    log = FaultLog(folder / "kills.jsonl")
    kills = [Kill(**line) for line in log.read()]
    project, whole, seconds = prepare(folder)
    deadline = time.monotonic() + 60 * minutes
    for aim, count in wanted.items():
        number = sum(kill.aim == aim for kill in kills)
        while sum(kill.aim == aim and kill.lock != "missed" for kill in kills) < count:
            if time.monotonic() > deadline:
                return kills
            number += 1
            draw = random.Random(f"{seed} {aim} {number}")
            after = draw.uniform(0.0, seconds if aim == "random" else seconds / 2)
            copy = copied(project, folder / "copy")
            kill = kill_and_resume(copy, aim=aim, after=after, group=draw.random() < 0.5, whole=whole)
            kills.append(kill)
            log.note(kill, show=True)
    return kills


def main() -> int:
    """Run a campaign, or go on with one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--random", type=int, default=100, help="kills at random moments")
    parser.add_argument("--lock", type=int, default=20, help="kills while dvc.lock is written")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no kill after so many minutes")
    parser.add_argument("--own-server", action="store_true", help="every run starts its own Prefect server")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    at_home_in(folder)
    wanted: dict[Aim, int] = {
        "lock by run": asked.lock - asked.lock // 2,
        "lock by dvc repro": asked.lock // 2,
        "random": asked.random,
    }
    with contextlib.nullcontext() if asked.own_server else one_server(folder):
        kills = _campaign(folder, wanted=wanted, seed=asked.seed, minutes=asked.minutes)
    failed = [kill for kill in kills if kill.different]
    left = {aim: [kill.lock for kill in kills if kill.aim == aim] for aim in wanted}
    summary = {aim: {state: states.count(state) for state in sorted(set(states))} for aim, states in left.items()}
    sys.stdout.write(json.dumps({"kills": len(kills), "failed": len(failed), "dvc.lock was left": summary}) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
