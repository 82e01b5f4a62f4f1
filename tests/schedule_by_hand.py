"""Minutes with a real schedule, to be run by hand: ``python -m tests.schedule_by_hand FOLDER``.

A tiny project under a cron of one minute: the first run promotes, the next has nothing to do, rows are added and
retrain, an event starts a run, the whole schedule is killed in the middle of a training and goes on. Prints what
happened and how long it took, as JSON; fails when a promise is not kept.
"""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from tests.tiny import environment, make_project, sentences

_PATIENCE_SECONDS = 900.0
_CHANGES = {
    "baseline.epochs": 4,
    "clean.near_duplicate_threshold": 0.99,
    "promote.min_macro_f1": 0.0,
    "retrain.quality.max_lost_rows": 0.2,
}


def start(root: Path, *arguments: str) -> subprocess.Popen[str]:
    log = (root.parent / f"{arguments[0]}.log").open("a")
    home = {"PREFECT_HOME": str(root.parent / "prefect")}
    return subprocess.Popen(
        [sys.executable, "-m", "secateur.cli", *arguments],
        cwd=root,
        env=environment() | home,
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def latest(root: Path) -> dict[str, Any]:
    path = root / "reports" / "retrain.json"
    found: dict[str, Any] = json.loads(path.read_text())["latest"] if path.exists() else {}
    return found


def wait_for(what: str, found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.2)
    raise AssertionError(f"waited in vain for: {what}")


def next_run(root: Path, what: str, *actions: str) -> dict[str, Any]:
    """Wait for a run that starts after now and ends in one of these ways."""
    before = latest(root).get("started", "")

    def found() -> dict[str, Any] | None:
        now = latest(root)
        return now if now.get("started", "") > before and now["action"] in actions else None

    done: dict[str, Any] = wait_for(what, found)
    return {key: done[key] for key in ("action", "reason", "cause", "started", "seconds")}


def _recorded(root: Path, stage: str) -> Any:
    """Return the outputs of a stage in dvc.lock; the file is replaced while this looks."""
    try:
        return yaml.safe_load((root / "dvc.lock").read_text())["stages"][stage]["outs"]
    except (OSError, TypeError, KeyError, yaml.YAMLError):
        return None


def _append(root: Path, count: int, *, seed: int) -> None:
    with (root / "rows.csv").open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(sentences(count, seed=seed))


def main(folder: Path) -> None:
    """Go through a schedule's life."""
    root = make_project(folder / "project", changes=_CHANGES)
    happened: dict[str, Any] = {}
    schedule = start(root, "schedule", "--cron", "* * * * *")
    try:
        happened["first run"] = next_run(root, "the first run", "promoted")
        happened["nothing to do"] = next_run(root, "a run with nothing to do", "up to date")
        _append(root, 80, seed=5)
        happened["rows added"] = next_run(root, "a run on more rows", "promoted", "held")
        happened["nothing to do again"] = next_run(root, "a run with nothing to do", "up to date")

        watch = start(root, "watch", "--every", "1s")
        wait_for("the watch", lambda: "watching" in (root.parent / "watch.log").read_text())
        rows = (root / "rows.csv").read_text().splitlines(keepends=True)
        (root / "rows.csv").write_text("".join(rows[:80]))
        changed = time.time()
        held = wait_for("a run by event", lambda: (now := latest(root)).get("cause", "").startswith("event") and now)
        started = datetime.fromisoformat(held["started"]).timestamp()
        happened["event"] = {
            "seconds until the run started": round(started - changed, 1),
            "action": held["action"],
            "reason": held["reason"],
        }
        assert held["action"] == "held", held
        watch.send_signal(signal.SIGTERM)
        happened["watch ended with"] = watch.wait(timeout=30)

        (root / "rows.csv").write_text("".join(rows))
        _append(root, 60, seed=7)
        before = _recorded(root, "baseline")
        wait_for("the dense model of the next run", lambda: _recorded(root, "baseline") not in (None, before))
        os.killpg(schedule.pid, signal.SIGKILL)
        schedule.wait()
        happened["killed"] = "after the dense model, with kill -9"
        no_child_is_left(root)
        schedule = start(root, "schedule", "--every", "1m")
        done = next_run(root, "the run after the kill", "promoted", "held")
        stages = latest(root)["stages"]
        assert stages["baseline"] == "cached", stages
        happened["after the kill"] = done | {"stages": stages}
    finally:
        schedule.send_signal(signal.SIGTERM)
        began = time.monotonic()
        code = schedule.wait(timeout=90)
        happened["SIGTERM"] = {"exit code": code, "seconds": round(time.monotonic() - began, 1)}
        sys.stdout.write(json.dumps(happened, indent=2) + "\n")
    no_child_is_left(root)
    assert code == 0


def no_child_is_left(root: Path) -> None:
    """Wait until no server and no run of this project is alive."""

    def nobody() -> bool:
        listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
        environments = [
            pid for pid in re.findall(r"^\s*(\d+) .*python.*$", listed, re.MULTILINE) if _belongs(int(pid), root)
        ]
        return not environments

    wait_for("the end of all children", nobody)


def _belongs(pid: int, root: Path) -> bool:
    try:
        return f"PREFECT_HOME={root.parent / 'prefect'}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
