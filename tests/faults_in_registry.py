"""Faults at every write of what changes a registry: ``python -m tests.faults_in_registry FOLDER --minutes 10``.

``promote``, ``rollback``, ``approve`` and ``sign`` of a tiny project are killed, find the disk full, or find it read
only, at each of their writes in turn (``tests.faults``). After a kill nothing is said; else it is one line, no
traceback. Whoever reads meanwhile finds the old champion or the new one. Then the same is asked for again, and must
come to the aliases and events of an undisturbed one, with manifests and a history that fit. Two hosts that ask for it
at the same moment move the champion once.

What is tried is a copy of one project, in forks of this process; the fresh process of a proof is this one. Prints one
line of JSON per fault that was not as it should be, at the end the counts. ``FOLDER/faults.jsonl`` keeps all, so that a
campaign goes on where it was stopped; the order is drawn from ``--seed``, so that a part of it is a sample.
"""

import argparse
import base64
import json
import logging
import multiprocessing
import os
import random
import shutil
import socket
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flows.promote import promote, rollback
from secateur.errors import SecateurError
from secateur.files import NO_SPACE
from secateur.registry import judgement, promotion
from secateur.registry.approvals import approve
from secateur.registry.as_registered import all_problems
from secateur.registry.history import events
from secateur.registry.history_check import history_problems
from secateur.registry.measurement import answers_here
from secateur.registry.mlflow_records import Records
from secateur.registry.mlflow_store import ModelRegistry
from secateur.registry.model_source import listing_of, resolve
from secateur.registry.promotion import open_records
from secateur.registry.signing import sign
from secateur.verification.keys import signing_key
from secateur.workflow.params import read_config
from secateur.workflow.project import Project
from tests.fault_log import FaultLog
from tests.faults import Faults, How

_FORK = multiprocessing.get_context("fork")
_KEY = (
    f"ed25519:{base64.b64encode(Ed25519PrivateKey.from_private_bytes(bytes(range(32))).private_bytes_raw()).decode()}"
)
_HOWS: tuple[How, ...] = ("kill", "full", "read-only")
_ENDED = "killed"


@dataclass(frozen=True)
class Fault:
    """One fault and what came of it.

    Attributes:
        what: was asked for.
        how: it was disturbed.
        at: number of the write.
        said: by who asked.
        wrong: what is not as it should be; nothing where all is.
    """

    what: str
    how: str
    at: int
    said: str
    wrong: tuple[str, ...]


def _promote(project: Project) -> None:
    verdict = promote(project, why="better")
    if not verdict.promoted and "already" not in verdict.reason:
        raise AssertionError(verdict.reason)


def _rollback(project: Project) -> None:
    if open_records(project, "tiny").alias("champion") == "2":
        rollback(project, why="worse")


def _approve(project: Project) -> None:
    key = signing_key()
    assert key is not None
    approve(_records(project), "1", key, section=read_config(project).promote, why="looked")


def _sign(project: Project) -> None:
    records, key = _records(project), signing_key()
    assert key is not None
    resolved = resolve(project, "models:/tiny/1", registry=records.registry, signature="ignored")
    sign(records, "1", key, tags=resolved.tags, files=listing_of(resolved)[0])
    resolved.close()


OPERATIONS: dict[str, Callable[[Project], None]] = {
    "promote": _promote,
    "rollback": _rollback,
    "approve": _approve,
    "sign": _sign,
}


def _records(project: Project) -> Records:
    return Records(ModelRegistry(project), "tiny")


def prepare(folder: Path) -> Path:
    """Return a project with versions 1 and 2, of which 1 was promoted, and then 2; version 3 waits."""
    made = folder / "project"
    if not (folder / "made").exists():
        from tests.integration.registry_stand import Stand, changed

        shutil.rmtree(made, ignore_errors=True)
        stand = Stand(made)
        for at, name in enumerate(("baseline", "r1", "r2"), 1):
            stand.register(name, changed(stand.good, lambda tensors, at=at: tensors["classifier.bias"].add_(at / 1e3)))
        for version in ("1", "2"):
            verdict = promote(stand.project, reference=f"models:/tiny/{version}")
            assert verdict.promoted, verdict.reason
        (folder / "made").touch()
    return made


def _quick() -> None:
    """Let this process answer where a fresh one would; whether one answers is tested elsewhere."""

    def here(folder: Path, texts: Sequence[str], **_: Any) -> Any:
        return answers_here(folder, texts, num_threads=1)

    def version(resolved: Any, texts: Sequence[str], **_: Any) -> Any:
        return answers_here(resolved.folder, texts, num_threads=1)

    judgement.answers_of_folder = here  # type: ignore[attr-defined]
    promotion.answers_of_version = version  # type: ignore[attr-defined]


def _in_fork(
    root: Path, what: str, *, faults: Faults | None = None, host: str | None = None, barrier: Any = None
) -> Any:
    """Start an operation in a fork; return what waits for it, and returns what it said and how many writes it did."""
    ours, theirs = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_do, args=(theirs, root, what, faults, host, barrier))
    process.start()
    theirs.close()

    def wait() -> tuple[str, int]:
        try:
            found: tuple[str, int] = ours.recv() if ours.poll(300) else ("no end within 300 s", 0)
        except EOFError:
            found = (_ENDED, 0)
        process.kill() if found[0].startswith("no end") else None
        process.join()
        return found

    return wait


def _do(pipe: Any, root: Path, what: str, faults: Faults | None, host: str | None, barrier: Any) -> None:
    _be_quiet(root)
    if host is not None:
        socket.gethostname = lambda: host
    if barrier is not None:
        barrier.wait(timeout=60)
    if faults is not None:
        faults.install()
    pipe.send((_ended(root, what), 0 if faults is None else faults.passed))
    os._exit(0)


def _be_quiet(root: Path) -> None:
    os.chdir(root)
    logging.disable()
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  it ends with this process


def _ended(root: Path, what: str) -> str:
    """Do an operation, and return how it ended."""
    try:
        OPERATIONS[what](Project(root))
    except SecateurError as error:
        return f"refused: {error}" if len(str(error).splitlines()) == 1 else f"several lines: {error}"
    except OSError as error:
        # What the command line turns into a line.
        return f"refused: {error}" if error.errno in {*NO_SPACE, 30} else traceback.format_exc(limit=-4)
    except BaseException:  # noqa: BLE001  the point of it all
        return traceback.format_exc(limit=-4)
    return "done"


def _state(root: Path) -> dict[str, Any]:
    """Return what is left."""
    records, key = _records(Project(root)), signing_key()
    versions = {one.version: one for one in records.registry.versions("tiny")}
    wrong = [problem.said for problem in history_problems(records, key=key)]
    wrong += [problem.said for one in versions.values() for problem in all_problems(records, one, key=key)]
    return {
        "aliases": dict(sorted(records.aliases().items())),
        "moves": [(one.what, one.to) for one in events(records) if one.what in ("promoted", "rolled_back")],
        "signed": sorted(v for v, one in versions.items() if "secateur.signature" in one.tags),
        "approved": any(tag.startswith("secateur.approval.") for tag in versions["1"].tags),
        "journal": "secateur.transition" in records.tags(),
        "problems": wrong,
    }


def elsewhere(root: Path, look: Callable[[], Any]) -> Any:
    """Return what a fork finds, None where it finds no end: MLflow keeps connections."""
    ours, theirs = _FORK.Pipe(duplex=False)

    def told() -> None:
        _be_quiet(root)
        theirs.send(look())
        os._exit(0)

    process = _FORK.Process(target=told)
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        found = None
    process.join()
    return found


def _looked_at_and_asked_again(root: Path, what: str) -> tuple[dict[str, str], str, dict[str, Any]]:
    """Return the aliases that somebody else finds, how the operation ends when it is asked for again, what is left."""

    def look() -> tuple[dict[str, str], str, dict[str, Any]]:
        return dict(_records(Project(root)).aliases()), _ended(root, what), _state(root)

    found: tuple[dict[str, str], str, dict[str, Any]] = elsewhere(root, look) or ({}, "nothing can be read", {})
    return found


def _copy(project: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(project, to, symlinks=True)
    return to


def disturbed(
    project: Path, scratch: Path, what: str, how: How, at: int, *, before: str, after: dict[str, Any]
) -> Fault:
    """Disturb one operation at one write, ask again, and compare; ``before`` is the champion until then."""
    root = _copy(project, scratch)
    said, _ = _in_fork(root, what, faults=Faults(root, at=at, how=how))()
    wrong = [] if said in (_ENDED, "done") or said.startswith("refused: ") else [said]
    if (said == _ENDED) != (how == "kill"):
        wrong.append(f"it ended as {said.splitlines()[-1]}")
    between, again, left = _looked_at_and_asked_again(root, what)
    if between.get("champion") not in (before, after["aliases"]["champion"]):
        wrong.append(f"meanwhile the champion is {between}")
    if again != "done":
        wrong.append(f"asked again: {again}")
    wrong += [f"{name}: {left.get(name)}, not {value}" for name, value in after.items() if left.get(name) != value]
    return Fault(what, how, at, said.splitlines()[-1][:200], tuple(wrong))


def together(project: Path, scratch: Path, *, after: dict[str, Any], number: int) -> Fault:
    """Let two hosts promote the same version at the same moment."""
    root, barrier = _copy(project, scratch), _FORK.Barrier(2)
    waiting = [_in_fork(root, "promote", host=host, barrier=barrier) for host in ("one", "other")]
    said = [wait()[0] for wait in waiting]
    wrong = [one for one in said if one != "done" and not one.startswith("refused: ")]
    if "done" not in said:
        _in_fork(root, "promote", host="one")()
    left = elsewhere(root, lambda: _state(root)) or {}
    wrong += [f"{name}: {left.get(name)}, not {value}" for name, value in after.items() if left.get(name) != value]
    return Fault("promote", "two hosts", number, " | ".join(one.splitlines()[-1][:100] for one in said), tuple(wrong))


def _campaign(folder: Path, *, seed: int, minutes: float, most: int, hosts: int) -> list[Fault]:
    log = FaultLog(folder / "faults.jsonl")
    faults = [Fault(**line) for line in log.read()]
    known = {(fault.what, fault.how, fault.at) for fault in faults}
    project, deadline = prepare(folder), time.monotonic() + 60 * minutes
    after, points = {}, {}
    for what in OPERATIONS:
        root = _copy(project, folder / "copy")
        said, points[what] = _in_fork(root, what, faults=Faults(root, at=0, how="count"))()
        assert said == "done", said
        after[what] = elsewhere(root, lambda root=root: _state(root))
        assert after[what]["problems"] == [], after[what]
    before = elsewhere(project, lambda: _state(project))["aliases"]["champion"]
    sys.stdout.write(json.dumps({"writes": points}) + "\n")
    wanted = [(what, how, at) for what, count in points.items() for how in _HOWS for at in range(1, count + 1)]
    random.Random(seed).shuffle(wanted)
    wanted = [("promote", "two hosts", number) for number in range(hosts)] + wanted[:most]
    for what, how, at in wanted:
        if (what, how, at) in known or time.monotonic() > deadline:
            continue
        if how == "two hosts":
            fault = together(project, folder / "copy", after=after["promote"], number=at)
        else:
            fault = disturbed(project, folder / "copy", what, how, at, before=before, after=after[what])
        faults.append(fault)
        log.note(fault, show=bool(fault.wrong))
    return faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign, or go on with one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no fault after so many minutes")
    parser.add_argument("--most", type=int, default=10**9, help="faults at writes; the default is all there are")
    parser.add_argument("--hosts", type=int, default=20, help="promotions by two hosts at once")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    folder = asked.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["SECATEUR_SIGNING_KEY"] = _KEY
    _quick()
    faults = _campaign(folder, seed=asked.seed, minutes=asked.minutes, most=asked.most, hosts=asked.hosts)
    tried = Counter(f"{fault.what}, {fault.how}" for fault in faults)
    right = Counter(f"{fault.what}, {fault.how}" for fault in faults if not fault.wrong)
    counts = {name: f"{right[name]} of {count}" for name, count in sorted(tried.items())}
    sys.stdout.write(json.dumps({"as it should be": counts}) + "\n")
    return 1 if right != tried else 0


if __name__ == "__main__":
    sys.exit(main())
