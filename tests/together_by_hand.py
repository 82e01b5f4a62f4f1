"""Runs that want the same project at once, by hand: ``python -m tests.together_by_hand FOLDER --rounds 20``.

In each round ``secateur run`` is started eight times at the same moment in one project with something to do. One of
them does it, all others are told in one line who has it; what is there afterwards are the bytes of an undisturbed run,
and no stage was computed twice. Every fourth round the one that works is stopped (SIGSTOP), as a debugger would:
whoever comes is told its number at once, reads what can be read, and nothing is done beside it; it goes on, and ends.

Runs are forks of a process that has imported the libraries (``tests.warm``), so that they really come together, and
share one Prefect server. Prints one line of JSON per round, and fails when one was not as it should be.
``FOLDER/rounds.jsonl`` keeps them, so that a campaign goes on where it was stopped.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.kills_by_hand import at_home_in, contents, copied, one_server, prepare
from tests.tiny import secateur

_EIGHT = 8
_HELD = "holds"


def _holder(root: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int((root / ".secateur" / "run.lock").read_text())
    return None


def _stopped(root: Path, before: int | None) -> list[str]:
    """Stop the one that works, ask beside it, and let it go on; return what was wrong."""
    deadline = time.monotonic() + 120
    while (holder := _holder(root)) in (None, before):
        if time.monotonic() > deadline:
            return ["nobody took the lock"]
        time.sleep(0.05)
    time.sleep(1.0)
    os.kill(holder, signal.SIGSTOP)
    began, wrong = time.monotonic(), []
    try:
        beside = secateur(root, "run", "--json", check=False)
        if beside.returncode != 2 or str(holder) not in beside.stderr:
            wrong.append(f"beside a stopped one: {beside.returncode} {beside.stderr[-200:]}")
        if (read := secateur(root, "plan", check=False)).returncode not in (0, 1):
            wrong.append(f"plan beside a stopped one: {read.stderr[-200:]}")
        if time.monotonic() - began > 60:
            wrong.append("it waited")
    finally:
        os.kill(holder, signal.SIGCONT)
    return wrong


def a_round(root: Path, *, whole: dict[str, str], stop: bool) -> dict[str, Any]:
    """Start eight, and return what came of them."""
    before = _holder(root)
    with ThreadPoolExecutor(_EIGHT) as pool:
        ended = [pool.submit(secateur, root, "run", "--json", check=False) for _ in range(_EIGHT)]
        wrong = _stopped(root, before) if stop else []
        runs = [run.result() for run in ended]
    worked: dict[str, int] = {}
    for run in runs:
        if run.returncode == 0:
            for stage in json.loads(run.stdout)["stages"]:
                worked[stage["stage"]] = worked.get(stage["stage"], 0) + (stage["action"] == "run")
        elif run.returncode != 2 or _HELD not in run.stderr or "Traceback" in run.stderr:
            wrong.append(f"{run.returncode}: {run.stderr[-300:]}")
    wrong += [f"{stage} was computed {times} times" for stage, times in worked.items() if times > 1]
    wrong += [] if any(worked.values()) else ["nobody did anything"]
    wrong += sorted({name for name, _ in {*whole.items()} ^ {*contents(root).items()}})
    return {"ended well": sum(run.returncode == 0 for run in runs), "stopped one": stop, "wrong": wrong}


def main() -> int:
    """Run a campaign, or go on with one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no round after so many minutes")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    at_home_in(folder)
    log, deadline = folder / "rounds.jsonl", time.monotonic() + 60 * asked.minutes
    rounds = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    with one_server(folder):
        project, whole, _ = prepare(folder)
        while len(rounds) < asked.rounds and time.monotonic() < deadline:
            root = copied(project, folder / "copy")
            rounds.append(a_round(root, whole=whole, stop=len(rounds) % 4 == 3))
            with log.open("a") as file:
                file.write(json.dumps(rounds[-1]) + "\n")
            sys.stdout.write(json.dumps(rounds[-1]) + "\n")
            sys.stdout.flush()
    right = sum(not one["wrong"] for one in rounds)
    runs = {"rounds": len(rounds), "as it should be": right, "runs": _EIGHT * len(rounds)}
    sys.stdout.write(json.dumps(runs) + "\n")
    return 1 if right != len(rounds) else 0


if __name__ == "__main__":
    sys.exit(main())
