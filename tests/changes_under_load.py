"""Clients that are answered while everything changes: ``python -m tests.changes_under_load --requests 200000``.

A tiny classifier behind ``secateur serve``, over TLS, that watches its traffic (``--live``) and asks another version
the same (``--shadow``). 32 clients ask for labels (``benchmarks.http_load``), and begin another connection now and
then. Meanwhile ``secateur models promote`` moves the champion twice, ``rollback`` once, and the certificate is another
one. No request fails, every answer names the version that gave it, and all that were champion have answered. Then load
goes on until so many requests were answered, and the memory of the server and of its shadow is compared: the mean of
the last third of the time with that of the third before it. Prints what was found as JSON; fails where a promise is not
kept.
"""

import argparse
import json
import math
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa

from tests.integration.registry_stand import Stand, changed
from tests.tiny import REPOSITORY, environment, secateur, sentences

_RENEW = 50
"""Requests after which a client begins another connection."""

_GROWTH = 0.03
"""What memory may differ by: the measurement itself does by 1 %."""


def a_stand(root: Path) -> Stand:
    """Return a project with versions 1, the champion, to 4, the challenger, whose training rows can be had."""
    stand = Stand(root)

    def rows(seed: int, count: int) -> pa.Table:
        return pa.table({"text": [text for text, _ in sentences(count, num_labels=3, seed=seed)]})

    stand.write_lock(train=stand.cache(rows(1, 600)), validation=stand.cache(rows(2, 300)))
    for at, name in enumerate(("baseline", "r1", "r2", "r3")):
        stand.register(name, changed(stand.good, lambda tensors, at=at: tensors["classifier.bias"].add_(at / 1e3)))
    stand.registry.set_alias("tiny", "champion", "1")
    return stand


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate of this machine, and its key."""
    made, key = folder / f"{name}.crt", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made, key


@contextmanager
def _server(root: Path, *, files: tuple[Path, Path], log: Path) -> Iterator[tuple[str, psutil.Process]]:
    command = [sys.executable, "-m", "secateur.cli", "serve", "models:/tiny@champion", "--live", "--port", "0"]
    command += ["--shadow", "models:/tiny@challenger", "--certificate", str(files[0]), "--private-key", str(files[1])]
    with log.open("w") as said:
        process = subprocess.Popen(
            [*command, "--json"], cwd=root, env=environment(), stdout=subprocess.PIPE, stderr=said, text=True
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log.read_text()
            yield json.loads(line)["url"], psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(timeout=60)


class Memory:
    """Looks every second at the memory of a process and of its children, in MB, until it is stopped."""

    def __init__(self, process: psutil.Process) -> None:
        """Begin."""
        self.own: list[float] = []
        self.children: list[float] = []
        self._process, self._stop = process, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(1.0):
            self.own.append(self._process.memory_info().rss / 1e6)
            rss = 0.0
            for child in self._process.children():
                try:
                    rss += child.memory_info().rss / 1e6
                except psutil.Error:
                    continue
            self.children.append(rss)

    def end(self) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join()


def _load(url: str, texts: Path, *, clients: int, seconds: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.http_load", "secateur", url, str(texts)]
    command += [str(clients), str(seconds), str(_RENEW)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def _answers(load: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    return list(json.loads(load.communicate()[0])["answers"])


def _shown(url: str) -> str:
    address, _, port = url.removeprefix("https://").partition(":")
    return ssl.get_server_certificate((address, int(port)))


def _change(root: Path, url: str, *, files: tuple[Path, Path], new: tuple[Path, Path], seconds: float) -> list[str]:
    """Do everything that may happen to a server, with times between; return what was wrong."""
    wrong, pause, before = [], seconds / 8, _shown(url)
    for command in (("promote", "models:/tiny/2"), ("promote", "models:/tiny/3"), ("rollback", "tiny")):
        time.sleep(pause)
        done = secateur(root, "models", *command, check=False)
        if done.returncode != 0:
            wrong.append(f"{command}: {done.stderr[-300:]}")
    time.sleep(pause / 2)
    for made, old in zip(new, files, strict=True):
        made.replace(old)
    time.sleep(pause / 2)
    if _shown(url) == before:
        wrong.append("the certificate is the old one")
    return wrong


def _figures(answers: Sequence[dict[str, Any]], *, seconds: float) -> dict[str, Any]:
    good = sorted(answer["ms"] for answer in answers if answer["problem"] is None)
    problems = Counter(answer["problem"] for answer in answers if answer["problem"] is not None)
    quantiles = {name: round(good[math.ceil(q * len(good)) - 1], 1) for name, q in (("p50_ms", 0.5), ("p99_ms", 0.99))}
    return {
        "requests": len(answers),
        "failed": sum(problems.values()),
        "problems": dict(problems),
        "per_s": round(len(answers) / seconds),
        **quantiles,
        "max_ms": round(good[-1], 1),
        "by version": dict(sorted(Counter(str(answer["version"]) for answer in answers).items())),
    }


def _growth(values: Sequence[float]) -> dict[str, float]:
    third = max(1, len(values) // 3)
    before, last = sum(values[-2 * third : -third]) / third, sum(values[-third:]) / third
    return {"first": round(values[0]), "before": round(before, 1), "last": round(last, 1)}


def measure(folder: Path, *, clients: int, seconds: float, requests: int, minutes: float) -> dict[str, Any]:
    """Return what was found; ``wrong`` says what is not as it should be."""
    stand = a_stand(folder / "project")
    files, new = certificate(folder, "first"), certificate(folder, "second")
    texts = folder / "texts.json"
    texts.write_text(json.dumps([text for text, _ in sentences(2000, num_labels=3, seed=9)]))
    found: dict[str, Any] = {"clients": clients}
    deadline = time.monotonic() + 60 * minutes
    with _server(stand.root, files=files, log=folder / "serve.log") as (url, process):
        _load(url, texts, clients=clients, seconds=3).communicate()
        memory = Memory(process)
        secateur(stand.root, "--version")  # the process that later commands are forks of
        began, load = time.monotonic(), _load(url, texts, clients=clients, seconds=10 * seconds)
        wrong = _change(stand.root, url, files=files, new=new, seconds=seconds)
        time.sleep(max(1.0, began + seconds - time.monotonic()))
        lasted = time.monotonic() - began
        load.terminate()
        found["while everything changes"] = figures = _figures(_answers(load), seconds=lasted)
        found["while everything changes"]["seconds"] = round(lasted)
        wrong += [f"no answer by version {version}" for version in "123" if version not in figures["by version"]]
        failed, total = figures["failed"], figures["requests"]
        while total < requests and time.monotonic() < deadline:
            more = _figures(_answers(_load(url, texts, clients=clients, seconds=30)), seconds=30)
            failed, total = failed + more["failed"], total + more["requests"]
            found["afterwards"] = {name: more[name] for name in ("per_s", "p50_ms", "p99_ms", "max_ms")}
        memory.end()
    said = (folder / "serve.log").read_text()
    live = json.loads((stand.root / "reports" / "live.json").read_text())
    found |= {"requests": total, "failed": failed, "texts that live watching counted": live["texts"]}
    found["shadow"] = {name: live["shadow"][name] for name in ("challenger", "texts", "dropped", "problem")}
    for name, values in (("server_mb", memory.own), ("shadow_mb", memory.children)):
        found[name] = growth = _growth(values)
        if growth["last"] > growth["before"] * (1 + _GROWTH):
            wrong.append(f"{name} grows: {growth}")
    wrong += ["failed requests"] if failed else []
    wrong += ["a traceback in its log"] if "Traceback" in said else []
    return {**found, "wrong": wrong}


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0, help="during which everything changes, at least")
    parser.add_argument("--requests", type=int, default=200_000, help="in all")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no more after so many minutes")
    parser.add_argument("--keep", type=Path, help="folder to work in, which stays")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="load-")) if asked.keep is None else asked.keep.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = measure(
            folder,
            clients=asked.clients,
            seconds=asked.seconds,
            requests=asked.requests,
            minutes=asked.minutes,
        )
    finally:
        if asked.keep is None:
            shutil.rmtree(folder)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
