"""Cuts between a project and the servers of a team: ``python -m tests.cuts_in_network FOLDER --cuts 40``.

MLflow on PostgreSQL and S3, DVC's remote on S3, as ``make team`` starts them (``deploy``), with a proxy on each way
(``tests.cutting``): from the project to MLflow (``registry``) and to S3 (``data``), from MLflow to S3 (``objects``) and
to PostgreSQL (``database``). A build is registered, its challenger promoted, and a version is reproduced in a clone
that has nothing. On one of the ways connections are cut in the middle of what an undisturbed command sends there, are
refused from there on, or stall. The command comes to its end all the same, or says one line, within ``--bound``
seconds. Then the way is whole, the same is asked for again, and what is there must be what an undisturbed one leaves:
each model once, with all its files, aliases, manifest and history.

Prints a line of JSON per cut that was not as it should be, at the end the counts. ``FOLDER/cuts.jsonl`` keeps all, so
that a campaign goes on where it was stopped. Needs the extra ``team`` and PostgreSQL.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from deploy.postgres import Postgres
from deploy.processes import HOST, Server, claim_port, http_answers
from deploy.services import BUCKET, require_packages
from tests import warm
from tests.cutting import Cut, Proxy
from tests.fault_log import FaultLog
from tests.faults_in_commands import SMALL, different
from tests.fuzzing import Stuck, patience
from tests.kills_by_hand import at_home_in, one_server
from tests.registered import registered
from tests.tiny import dvc, environment, git, make_project, secateur

_WAYS = ("registry", "objects", "database", "data")
_REACHES = {"register": _WAYS[:3], "promote": _WAYS[:3], "reproduce": ("registry", "data")}
"""Operation -> the ways that it uses."""

_COMMANDS = {
    "register": ("run", "--json"),
    "promote": ("models", "promote", "models:/{name}@challenger", "--json"),
    "reproduce": ("models", "reproduce", "models:/alone/1", "--json"),
}
_TIMEOUT_SECONDS = 5
_PATIENCE_SECONDS = 240.0


@dataclass(frozen=True)
class Fault:
    """One cut and what came of it.

    Attributes:
        number: of the trial, from which follows what is cut, and how.
        what: was asked for.
        way: that was cut.
        how: it was.
        after: bytes.
        seconds: until the command ended.
        said: in the end; ``done`` where it came to its end all the same.
        wrong: what is not as it should be.
    """

    number: int
    what: str
    way: str
    how: str
    after: int
    seconds: float
    said: str
    wrong: tuple[str, ...]


class Team:
    """The servers, and a proxy on each way to them."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        """Start them; they end with the stack."""
        postgres, ports = Postgres(folder), {name: claim_port(0, option="") for name in ("mlflow", "s3")}
        self._start(stack, folder, "S3", ["deploy.object_store", str(ports["s3"]), str(folder / "s3")], {})
        database = postgres.start(folder / "logs" / "postgresql.log")
        stack.callback(postgres.remove_socket)
        stack.callback(database.stop)
        database.wait_until(postgres.answers)
        postgres.create_databases("mlflow")
        behind = folder / "socket"
        shutil.rmtree(behind, ignore_errors=True)
        behind.mkdir()
        self.ways = {
            "registry": Proxy((HOST, ports["mlflow"])),
            "objects": Proxy((HOST, ports["s3"])),
            "data": Proxy((HOST, ports["s3"])),
            "database": Proxy(postgres.socket / ".s.PGSQL.5432", at=behind / ".s.PGSQL.5432"),
        }
        for proxy in self.ways.values():
            stack.enter_context(proxy)
        keys = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_DEFAULT_REGION": "us-east-1"}
        self.variables = {
            **keys,
            "MLFLOW_TRACKING_URI": f"http://{HOST}:{self.ways['registry'].port}",
            "AWS_ENDPOINT_URL": f"http://{HOST}:{self.ways['data'].port}",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": str(_TIMEOUT_SECONDS),
        }
        store = f"http://{HOST}:{ports['s3']}"
        _wait_for(store)
        urllib.request.urlopen(urllib.request.Request(f"{store}/{BUCKET}", method="PUT")).close()
        address = postgres.url("psycopg2", "mlflow").replace(str(postgres.socket), str(behind))
        arguments = [
            *("mlflow", "server", "--host", HOST, "--port", str(ports["mlflow"]), "--workers", "1"),
            *("--backend-store-uri", address, "--artifacts-destination", f"s3://{BUCKET}/mlflow"),
        ]
        own = {**keys, "AWS_ENDPOINT_URL": f"http://{HOST}:{self.ways['objects'].port}"}
        own |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        self._start(stack, folder, "MLflow", arguments, own)
        _wait_for(f"{self.variables['MLFLOW_TRACKING_URI']}/health")

    def _start(
        self, stack: contextlib.ExitStack, folder: Path, name: str, arguments: list[str], variables: dict[str, str]
    ) -> None:
        log = folder / "logs" / f"{name.lower()}.log"
        server = Server(name, [sys.executable, "-m", *arguments], log=log, environment=variables)
        stack.callback(server.stop)

    def passed(self) -> dict[str, int]:
        """Return way -> bytes until now."""
        return {name: proxy.passed for name, proxy in self.ways.items()}


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 180
    while not http_answers(url):
        assert time.monotonic() < deadline, f"{url} does not answer"
        time.sleep(0.2)


class Campaign:
    """A finished project that is registered under one name after another, and a clone of it."""

    def __init__(self, folder: Path, team: Team, *, bound_s: float, seed: int) -> None:
        """Prepare what is not there yet, and measure undisturbed commands."""
        self._folder, self._team, self._bound_s, self._seed = folder, team, bound_s, seed
        self.root = folder / "copy"
        if not (folder / "finished").exists():
            self._prepare()
        self._sent, self._whole = self._undisturbed()

    def _prepare(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        make_project(self.root, changes={**SMALL, "register.model_name": "alone"})
        dvc(self.root, "remote", "add", "--default", "team", f"s3://{BUCKET}/dvc")
        for name in ("read_timeout", "connect_timeout"):
            dvc(self.root, "remote", "modify", "team", name, str(_TIMEOUT_SECONDS))
        git(self.root, "commit", "-qam", "the remote of the team")
        secateur(self.root, "run", "--commit", env=self._team.variables)
        dvc(self.root, "push", env=self._team.variables)
        shutil.copytree(self.root, self._folder / "finished", symlinks=True)

    def _undisturbed(self) -> tuple[dict[str, dict[str, int]], dict[str, Any]]:
        """Return operation -> way -> bytes, and what is registered in the end; an earlier call has kept it."""
        kept = self._folder / "undisturbed.json"
        if kept.exists():
            values = json.loads(kept.read_text())
            return values["sent"], values["whole"]
        name, sent = f"m{os.getpid()}", {}
        for what in _COMMANDS:
            self._place(what, name)
            before = self._team.passed()
            ended = self.command(what, name)
            assert ended.returncode == 0, f"{what}: {ended.returncode} {ended.stderr[-2000:]}"
            sent[what] = {way: count - before[way] for way, count in self._team.passed().items()}
        self._place("register", name)  # the last one was a clone, which knows no remote of the team
        whole = self.registered(name)
        kept.write_text(json.dumps({"sent": sent, "whole": whole}))
        return sent, whole

    def _place(self, what: str, name: str) -> None:
        """Make what an operation works in: the project with another name for its model, or a clone with nothing."""
        if what == "promote":
            return  # where it was registered
        shutil.rmtree(self.root, ignore_errors=True)
        if what == "reproduce":
            git(self._folder, "clone", "-q", str(self._folder / "finished"), str(self.root))
            return
        shutil.copytree(self._folder / "finished", self.root, symlinks=True)
        params = json.loads((self.root / "params.yaml").read_text())
        params["register"]["model_name"] = name
        (self.root / "params.yaml").write_text(json.dumps(params, indent=2))
        git(self.root, "commit", "-qam", "another name")

    def command(self, what: str, name: str) -> subprocess.CompletedProcess[str]:
        """Ask for an operation."""
        arguments = [argument.format(name=name) for argument in _COMMANDS[what]]
        try:
            with patience(_PATIENCE_SECONDS):
                variables = {**environment(), **self._team.variables}
                return warm.run("secateur.cli", arguments, cwd=self.root, env=variables)
        except Stuck:
            return subprocess.CompletedProcess(arguments, 124, "", f"no end within {_PATIENCE_SECONDS:.0f} s")

    def registered(self, name: str) -> dict[str, Any]:
        """Return what is registered under a name."""
        return registered(self.root, name, env=self._team.variables)

    def trial(self, number: int) -> list[Fault]:
        """Cut a build and the promotion of what it made; every fifth time a rebuild."""
        name = f"m{os.getpid()}x{number}"
        return [
            self._cut(number, what, name) for what in (("reproduce",) if number % 5 == 4 else ("register", "promote"))
        ]

    def _cut(self, number: int, what: str, name: str) -> Fault:
        """Cut a way during an operation, ask for it again, and compare."""
        draw = random.Random(f"{self._seed} {what} {number}")
        way, how = draw.choice(_REACHES[what]), draw.choice(get_args(Cut))
        after = draw.randrange(max(1, self._sent[what][way]))
        self._place(what, name)
        proxy, began = self._team.ways[way], time.monotonic()
        proxy.disturb(how, after=after)
        first = self.command(what, name)
        seconds = time.monotonic() - began
        proxy.heal()
        lines = first.stderr.strip().splitlines() or [""]
        wrong = [f"a traceback: {first.stderr[-1500:]}"] if "Traceback" in first.stderr else []
        if first.returncode not in (0, 1, 2) or (first.returncode and not lines[-1].startswith("secateur: ")):
            wrong.append(f"it ended with {first.returncode}: {lines[-1][:300]}")
        if seconds > self._bound_s:
            wrong.append(f"it took {seconds:.0f} s")
        again = self.command(what, name)
        if again.returncode != 0:
            wrong.append(f"asked again: {again.returncode} {again.stderr[-500:]}")
        if what == "reproduce" and again.returncode == 0 and json.loads(again.stdout)["verdict"] != "bit-identical":
            wrong.append(f"reproduced: {again.stdout[-500:]}")
        if what == "promote":
            wrong += different(self._whole, self.registered(name))
        said = "done" if first.returncode == 0 else lines[-1][:200]
        return Fault(number, what, way, how, after, round(seconds, 1), said, tuple(wrong))


def _campaign(folder: Path, *, cuts: int, minutes: float, bound_s: float, seed: int) -> list[Fault]:
    log = FaultLog(folder / "cuts.jsonl")
    faults = [Fault(**line) for line in log.read()]
    with contextlib.ExitStack() as stack:
        stack.enter_context(one_server(folder))
        campaign = Campaign(folder, Team(folder / "team", stack), bound_s=bound_s, seed=seed)
        deadline = time.monotonic() + 60 * minutes
        number = 1 + max((fault.number for fault in faults), default=-1)
        while len(faults) < cuts and time.monotonic() < deadline:
            made = campaign.trial(number)
            faults += made
            number += 1
            for fault in made:
                log.note(fault, show=bool(fault.wrong))
    return faults


def _counted(faults: list[Fault]) -> Mapping[str, Any]:
    tried, right = (
        Counter(f"{fault.what}, {fault.way}, {fault.how}" for fault in some)
        for some in (faults, [fault for fault in faults if not fault.wrong])
    )
    return {
        "cuts": len(faults),
        "as it should be": {name: f"{right[name]} of {count}" for name, count in sorted(tried.items())},
        "came to their end all the same": sum(fault.said == "done" for fault in faults),
        "longest_s": max((fault.seconds for fault in faults), default=0.0),
    }


def main() -> int:
    """Run a campaign, or go on with one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cuts", type=int, default=40)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no cut after so many minutes")
    parser.add_argument("--bound", type=float, default=90.0, help="seconds within which a command ends")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    require_packages()
    folder = asked.folder.resolve()
    at_home_in(folder)
    faults = _campaign(folder, cuts=asked.cuts, minutes=asked.minutes, bound_s=asked.bound, seed=asked.seed)
    sys.stdout.write(json.dumps(_counted(faults)) + "\n")
    return 1 if any(fault.wrong for fault in faults) else 0


if __name__ == "__main__":
    sys.exit(main())
