"""Signals at random moments of a real run, to be run by hand: ``python -m tests.stops_by_hand FOLDER COUNT SEED``.

A tiny project (made at the first call, gone on with at the next) is run until SIGINT or SIGTERM comes, to the process
alone or to its group, under either driver. Each run goes on from where the one before it was stopped; one that comes to
its end must have the digests of an undisturbed run, and the project begins anew. Prints a line per moment; fails when
one took longer than 10 s, said more than one line, left a child or the lock, or when digests differ.
"""

import fcntl
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from tests.tiny import environment, make_project

_LIMIT_SECONDS = 10.0
_LINE = "secateur: interrupted; finished stages are kept, `secateur run` goes on from there"
_WAYS = tuple(itertools.product((signal.SIGINT, signal.SIGTERM), ("alone", "group")))
_MADE = ("data", "models", "reports", "dvc.lock", "mlruns", "mlflow.db", ".secateur", ".dvc/cache", ".dvc/tmp")


def _start(root: Path, *arguments: str) -> "subprocess.Popen[str]":
    variables = environment() | {"PREFECT_HOME": str(root.parent / "prefect"), "HF_HUB_OFFLINE": "1"}
    variables.pop("PREFECT_API_URL", None)
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *arguments],
        cwd=root,
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=(root.parent / "said").open("w"),
        text=True,
        start_new_session=True,
    )


# As `python -m secateur.cli` from a terminal: a shell's background job would have SIGINT ignored.
_PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from secateur.cli import main
main()
"""


def _family(root: Path) -> list[psutil.Process]:
    """Return every process of this folder, whoever its parent is."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and process.environ().get("PREFECT_HOME") == str(root.parent / "prefect"):
                found.append(process)
    return found


def _is_free(root: Path) -> bool:
    with (root / ".secateur" / "run.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _stop(run: "subprocess.Popen[str]", root: Path, number: int, whom: str) -> str:
    """Send the signal; return what happened, after everything was checked."""
    began = time.monotonic()
    (os.killpg if whom == "group" else os.kill)(run.pid, number)
    code = run.wait(timeout=300)
    ended = time.monotonic() - began
    while (left := _family(root)) and time.monotonic() - began < _LIMIT_SECONDS:
        time.sleep(0.1)
    alone = time.monotonic() - began
    assert ended < _LIMIT_SECONDS, f"{ended:.1f} s"
    assert not left, [process.cmdline() for process in left]
    said = (root.parent / "said").read_text().splitlines()
    if code == -number or not said:
        return f"{ended:.1f} s, before the program had begun"
    assert code == 128 + number, (code, said)
    assert [line for line in said if line.startswith("secateur:")] == [_LINE] == said[-1:], said
    assert not any("Traceback" in line for line in said), said
    if (root / ".secateur" / "run.lock").exists():
        assert _is_free(root)
    stage = next((line for line in reversed(said) if line.startswith(("▸", "Running stage"))), "before the first stage")
    return f"{ended:.1f} s, nobody left after {alone:.1f} s: {stage}"


def _begin_anew(root: Path) -> None:
    for name in _MADE:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _undisturbed(folder: Path) -> tuple[Path, float, bytes]:
    """Return the project, the seconds of a run and the digests it leaves; from an earlier call where there was one."""
    root, digests, seconds = folder / "project", folder / "undisturbed.lock", folder / "undisturbed.seconds"
    if not seconds.exists():
        make_project(root)
        began = time.monotonic()
        assert _start(root, "run").wait() == 0, (folder / "said").read_text()
        digests.write_bytes((root / "dvc.lock").read_bytes())
        seconds.write_text(f"{time.monotonic() - began:.0f}")
        _begin_anew(root)
    return root, float(seconds.read_text()), digests.read_bytes()


def main(folder: Path, count: int, seed: int) -> None:
    """Stop a run ``count`` times, and let the last one come to its end."""
    root, length, digests = _undisturbed(folder)
    sys.stdout.write(f"undisturbed: {length:.0f} s\n")
    draw = random.Random(seed)
    stopped = finished = 0
    while stopped < count:
        number, whom = _WAYS[(seed + stopped) % len(_WAYS)]
        driver = "dvc" if draw.random() < 0.25 else "prefect"
        moment = draw.uniform(0.0, length)
        run = _start(root, "run", "--driver", driver)
        with suppress(subprocess.TimeoutExpired):
            run.wait(timeout=moment)
        if run.poll() is not None:
            assert run.returncode == 0, (folder / "said").read_text()
            assert (root / "dvc.lock").read_bytes() == digests
            finished += 1
            _begin_anew(root)
            continue
        stopped += 1
        happened = _stop(run, root, number, whom)
        sys.stdout.write(f"{signal.Signals(number).name} {whom} {driver} after {moment:.1f} s: {happened}\n")
        sys.stdout.flush()
    assert _start(root, "run").wait() == 0, (folder / "said").read_text()
    assert (root / "dvc.lock").read_bytes() == digests
    sys.stdout.write(f"{stopped} stopped, {finished + 1} came to the digests of an undisturbed run\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3]))
