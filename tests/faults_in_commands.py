"""Faults of whole commands: ``python -m tests.faults_in_commands FOLDER --minutes 30``.

``run``, ``retrain``, ``sweep``, ``models promote`` and ``models reproduce`` of a tiny project are killed at a moment
drawn from the time of an undisturbed one or at one of their writes, or find the disk full or read-only from a write on
(``tests.faults``). After a kill nothing is said; else it is one line, no traceback. Then the same is asked for again,
and must come to what an undisturbed one leaves: every file of every stage, the registered weights, each once, where the
aliases point, the moves of the champion, manifests and a history that fit, no worktree beside this one.

Each command is a fork of a process that has imported the libraries (``tests.warm``), on a copy at the same place; all
share one Prefect server. What a process anew shows is in ``tests.kills_by_hand``. Prints a line of JSON per fault that
was not as it should be, at the end the counts. ``FOLDER/faults.jsonl`` keeps all, so that a campaign goes on where it
was stopped; the order is drawn from ``--seed``, so that a part of it is a sample. ``--only retrain full 3`` tries one
again, and leaves its copy.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests import warm
from tests.fault_log import FaultLog
from tests.faults import How
from tests.fuzzing import Stuck, patience
from tests.kills_by_hand import at_home_in, contents, one_server
from tests.registered import registered
from tests.tiny import REPOSITORY, environment, git, make_project, secateur, write_params

SMALL: Mapping[str, Any] = {
    "baseline.epochs": 2,
    "prune.schedule": {"shape": "cubic", "steps": 1},
    "prune.rounds": {"r1": {"prev": "baseline", "action": None, "budget": None, "epochs": None, "learning_rate": None}},
    "evaluate.bootstrap_samples": 100,
    "evaluate.latency.repeats": 3,
    "promote.max_drop": 1.0,
    "promote.significance.samples": 200,
    "promote.latency.repeats": 3,
    "promote.robustness.rows": 0,
}
_CHANGES: Mapping[str, Any] = {"clean.near_duplicate_threshold": 0.99, "baseline.epochs": 4}
"""What makes every stage but ingest stale."""

_PATIENCE_SECONDS = 300.0
_SHARES: Mapping[How, int] = {"moment": 48, "kill": 32, "full": 16, "read-only": 4}
"""How often each is tried, of a hundred."""


@dataclass(frozen=True)
class Operation:
    """A command, the prepared project that it is asked for in, and how often it is disturbed."""

    arguments: tuple[str, ...]
    project: str
    times: int


OPERATIONS: Mapping[str, Operation] = {
    "run": Operation(("run", "--json"), "changed", 130),
    "retrain": Operation(("retrain", "--json"), "changed", 60),
    "sweep": Operation(("sweep", "--methods", "magnitude", "--budgets", "0.6,0.8", "--json"), "built", 60),
    "promote": Operation(("models", "promote", "models:/tiny@challenger", "--json"), "rebuilt", 110),
    "reproduce": Operation(("models", "reproduce", "models:/tiny@champion", "--json"), "built", 40),
}


@dataclass(frozen=True)
class Undisturbed:
    """What an operation leaves, its seconds, and its writes."""

    left: dict[str, Any]
    seconds: float
    writes: int


@dataclass(frozen=True)
class Fault:
    """One fault and what came of it.

    Attributes:
        what: was asked for.
        how: it was disturbed.
        number: of the fault, from which follows where it comes.
        at: which write, or after how many seconds.
        missed: it had ended before.
        said: by who asked, in the end.
        wrong: what is not as it should be; nothing where all is.
    """

    what: str
    how: str
    number: int
    at: float
    missed: bool
    said: str
    wrong: tuple[str, ...]


class Campaign:
    """A folder with prepared projects, and a place where all of them are used."""

    def __init__(self, folder: Path) -> None:
        """Remember the folder."""
        self._folder, self.root = folder, folder / "copy"

    def restore(self, name: str) -> Path:
        """Put a prepared project into its place: where it was made, since a registry that has moved is put right."""
        if not (self._folder / f"{name}.made").exists():
            self._prepare(name)
            shutil.rmtree(self._folder / name, ignore_errors=True)
            shutil.copytree(self.root, self._folder / name, symlinks=True)
            (self._folder / f"{name}.made").touch()
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self._folder / name, self.root, symlinks=True)
        return self.root

    def _prepare(self, name: str) -> None:
        """Make ``built``, whose version 2 is the champion; ``changed`` has other parameters, ``rebuilt`` a build."""
        if name == "built":
            shutil.rmtree(self.root, ignore_errors=True)
            make_project(self.root, changes=dict(SMALL), short=True)
            secateur(self.root, "run", "--commit")
            secateur(self.root, "models", "promote", "models:/tiny@challenger")
        elif name == "changed":
            self.restore("built")
            write_params(self.root / "params.yaml", {**SMALL, **_CHANGES}, short=True)
            secateur(self.root, "plan", check=False)
            git(self.root, "commit", "-qam", "other parameters")
        else:
            self.restore("changed")
            secateur(self.root, "run", "--commit")

    def undisturbed(self, what: str) -> Undisturbed:
        """Return what an operation does where nothing happens; from an earlier call where there was one."""
        kept, counted = self._folder / f"{what}.undisturbed.json", self._folder / f"{what}.writes"
        if not kept.exists():
            ended = command(self.restore(OPERATIONS[what].project), what, "count", counted=counted)
            assert ended.returncode == 0, f"{what}: {ended.returncode} {ended.stderr[-2000:]}"
            root = self.restore(OPERATIONS[what].project)
            started = time.monotonic()
            command(root, what)
            seconds, writes = time.monotonic() - started, int(counted.read_text().split()[0])
            values = {"left": state(root), "seconds": seconds, "writes": writes}
            kept.write_text(json.dumps(values, sort_keys=True))
        return Undisturbed(**json.loads(kept.read_text()))

    def disturb(self, what: str, how: How, number: int, *, seed: int) -> Fault:
        """Disturb an operation, ask for it again, and compare."""
        alone = self.undisturbed(what)
        draw = random.Random(f"{seed} {what} {how} {number}")
        at = draw.uniform(0.0, alone.seconds) if how == "moment" else draw.randint(1, alone.writes)
        root = self.restore(OPERATIONS[what].project)
        first = command(root, what, how, at)
        killed = first.returncode == -9
        wrong = [f"a traceback: {first.stderr[-1500:]}"] if "Traceback" in first.stderr else []
        if first.returncode not in ((0, -9) if how in ("moment", "kill") else (0, 1, 2)):
            wrong.append(f"it ended with {first.returncode}: {first.stderr[-300:]}")
        last = (first.stderr.strip().splitlines() or [""])[-1]
        if first.returncode in (1, 2) and not last.startswith("secateur: "):
            wrong.append(f"it ended with {first.returncode} and no line: {last[:300]}")
        again = command(root, what)
        if again.returncode != 0:
            wrong.append(f"asked again: {again.returncode} {again.stderr[-500:]}")
        wrong += different(alone.left, state(root))
        said = "killed" if killed else last[:200]
        missed = first.returncode == 0 and how in ("moment", "kill")
        return Fault(what, how, number, round(at, 3), missed, said, tuple(wrong))


def command(
    root: Path, what: str, how: How | None = None, at: float = 0, *, counted: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Ask for an operation, with a fault where one is named."""
    arguments = OPERATIONS[what].arguments
    variables = {**environment(), **({"FAULTS_COUNTED": str(counted)} if counted and how == "count" else {})}
    try:
        with patience(_PATIENCE_SECONDS):
            if how is None:
                return warm.run("secateur.cli", arguments, cwd=root, env=variables)
            variables["PYTHONPATH"] = str(REPOSITORY)
            return warm.run("tests.faults", (str(root), str(at), how, *arguments), cwd=root, env=variables)
    except Stuck:
        return subprocess.CompletedProcess([what], 124, "", f"no end within {_PATIENCE_SECONDS:.0f} s")


def state(root: Path) -> dict[str, Any]:
    """Return what is left in a project."""
    left: dict[str, Any] = {f"file {name}": digest for name, digest in contents(root).items()}
    sweep = root / "reports" / "sweep.json"
    if sweep.exists():
        points = json.loads(sweep.read_text())["points"]
        left["sweep"] = [{name: value for name, value in point.items() if name != "seconds"} for point in points]
    left["worktrees"] = len(git(root, "worktree", "list").splitlines())
    return {**left, **registered(root, "tiny")}


def different(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return what differs; of files their names alone."""
    names = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    shown = {name: f": {found.get(name)}, not {wanted.get(name)}" for name in names if not name.startswith("file ")}
    return [f"{name}{shown.get(name, '')}" for name in names]


def wanted_faults(seed: int, *, some: Sequence[str] = ()) -> list[tuple[str, How, int]]:
    """Return all faults of a campaign, in an order of which every part is a sample."""
    wanted = [
        (what, how, number)
        for what, operation in OPERATIONS.items()
        for how, share in _SHARES.items()
        for number in range(round(operation.times * share / 100))
        if not some or what in some
    ]
    random.Random(seed).shuffle(wanted)
    return wanted


def _campaign(folder: Path, *, seed: int, minutes: float, some: Sequence[str]) -> list[Fault]:
    log, campaign = FaultLog(folder / "faults.jsonl"), Campaign(folder)
    faults = [Fault(**line) for line in log.read()]
    known = {(fault.what, fault.how, fault.number) for fault in faults}
    deadline = time.monotonic() + 60 * minutes
    for what, how, number in wanted_faults(seed, some=some):
        if (what, how, number) in known or time.monotonic() > deadline:
            continue
        fault = campaign.disturb(what, how, number, seed=seed)
        faults.append(fault)
        log.note(fault, show=bool(fault.wrong))
    return faults


def main() -> int:
    """Run a campaign, or go on with one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no fault after so many minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default="", help="by commas; the default is all")
    parser.add_argument("--only", nargs=3, metavar=("WHAT", "HOW", "NUMBER"), help="try one")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    at_home_in(folder)
    some = [name for name in asked.commands.split(",") if name]
    with one_server(folder):
        if asked.only is not None:
            what, how, number = asked.only
            print(json.dumps(asdict(Campaign(folder).disturb(what, how, int(number), seed=asked.seed)), indent=1))  # noqa: T201
            return 0
        faults = _campaign(folder, seed=asked.seed, minutes=asked.minutes, some=some)
    tried = Counter(f"{fault.what}, {fault.how}" for fault in faults if not fault.missed or fault.wrong)
    right = Counter(f"{fault.what}, {fault.how}" for fault in faults if not fault.missed and not fault.wrong)
    counts = {name: f"{right[name]} of {count}" for name, count in sorted(tried.items())}
    missed = sum(fault.missed for fault in faults)
    sys.stdout.write(json.dumps({"as it should be": counts, "ended before the fault": missed}) + "\n")
    return 1 if right != tried else 0


if __name__ == "__main__":
    sys.exit(main())
