"""What do the checks of a request cost, beside an earlier version of this package on the same model?

The earlier version (``git worktree add``, nothing installed), this one, this one with bearer tokens, and with an audit
log besides, serve one folder side by side on loopback. One process with many clients (``http_load``) asks each for some
seconds in turn, round after round, and begins elsewhere each time. What is compared are pairs of one round: requests
per second, and the processor time that a server took for one, which other work on the machine leaves alone.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil

from benchmarks.report import environment, show, write_results
from secateur.errors import ModelError
from secateur.serving.tokens import add_token, new_token

_HERE = Path(__file__).resolve().parents[1]
_WARM_UP_S = 2.0


@click.command()
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("before", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--texts", required=True, type=click.Path(exists=True, path_type=Path), help="JSON list of texts")
@click.option("--out", default=None, type=click.Path(path_type=Path), help="file of the results")
@click.option("--clients", default=32, show_default=True, help="clients that ask at once")
@click.option("--seconds", default=5.0, show_default=True, help="load on a server in each round")
@click.option("--rounds", default=12, show_default=True)
def main(model: Path, before: Path, texts: Path, out: Path | None, clients: int, seconds: float, rounds: int) -> None:
    """Serve the folder MODEL by the checkout BEFORE and by this one, and ask both."""
    settings: dict[str, Any] = {"texts": texts.resolve(), "clients": clients, "seconds": seconds, "rounds": rounds}
    result = measure(model.resolve(), before.resolve(), **settings)
    _show(result)
    write_results("serving_before", result, out=out)


def measure(model: Path, before: Path, *, texts: Path, clients: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Return what each round found, and how the servers compare."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        secret, kept = new_token("load")
        add_token(scratch / "tokens", kept)
        tokens = ["--tokens", str(scratch / "tokens")]
        wanted: dict[str, tuple[Path, list[str]]] = {
            "before": (before, []),
            "now": (_HERE, []),
            "now, tokens": (_HERE, tokens),
            "now, tokens and audit log": (_HERE, [*tokens, "--audit-log", str(scratch / "audit")]),
        }
        servers = {
            name: stack.enter_context(_server(code, model, options, scratch / f"{number}.log"))
            for number, (name, (code, options)) in enumerate(wanted.items())
        }

        def ask(name: str, seconds: float) -> dict[str, Any]:
            url, process = servers[name]
            return _asked(url, process, texts, clients=clients, seconds=seconds, token=secret)

        for name in servers:
            ask(name, _WARM_UP_S)
        names, slices = list(servers), []
        for number in range(rounds):
            order = names[number % len(names) :] + names[: number % len(names)]
            slices.append({name: ask(name, seconds) for name in order})
    return {
        "machine": environment(),
        "clients": clients,
        "seconds": seconds,
        "rounds": rounds,
        "servers": {name: _all_of([one[name] for one in slices]) for name in names},
        "against before": {name: _compared(slices, name, "before") for name in names[1:]},
        "against now": {name: _compared(slices, name, "now") for name in names[2:]},
    }


@contextmanager
def _server(code: Path, model: Path, options: Sequence[str], log: Path) -> Iterator[tuple[str, psutil.Process]]:
    command = [sys.executable, "-m", "secateur.cli", "serve", str(model), "--port", "0", "--json", *options]
    variables = {**os.environ, "PYTHONPATH": str(code)}
    with log.open("w") as said:
        process = subprocess.Popen(
            command, cwd=log.parent, env=variables, stdout=subprocess.PIPE, stderr=said, text=True
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise ModelError(f"secateur serve of {code} did not start: {log.read_text()[-500:]}")
            yield json.loads(line)["url"], psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(timeout=60)


def _asked(
    url: str, process: psutil.Process, texts: Path, *, clients: int, seconds: float, token: str
) -> dict[str, Any]:
    """Ask one server, and return the answered requests, how long each took, and the processor time of all."""
    command = [sys.executable, "-m", "benchmarks.http_load", "secateur", url, str(texts), str(clients), str(seconds)]
    before = process.cpu_times()
    done = subprocess.run([*command, "0", token], cwd=_HERE, stdout=subprocess.PIPE, text=True, check=True)
    after = process.cpu_times()
    answers = json.loads(done.stdout)["answers"]
    if failed := [answer["problem"] for answer in answers if answer["problem"]]:
        raise ModelError(f"{len(failed)} requests failed: {failed[0]}")
    processor_s = after.user + after.system - before.user - before.system
    return {
        "ms": [answer["ms"] for answer in answers],
        "per_s": len(answers) / seconds,
        "processor_ms": 1000 * processor_s / len(answers),
    }


def _all_of(slices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    p50, p99 = np.percentile([ms for one in slices for ms in one["ms"]], (50, 99)).tolist()
    return {
        "requests": sum(len(one["ms"]) for one in slices),
        "per_s": round(float(np.median([one["per_s"] for one in slices])), 1),
        "p50_ms": round(p50, 1),
        "p99_ms": round(p99, 1),
        "processor_ms": round(float(np.median([one["processor_ms"] for one in slices])), 4),
    }


def _compared(slices: Sequence[Mapping[str, Any]], name: str, other: str) -> dict[str, Any]:
    """Return how much more one took than the other, in percent: quartiles of the pairs of one round."""

    def quartiles(ratios: Sequence[float]) -> list[float]:
        return [round(100 * (float(value) - 1), 2) for value in np.percentile(ratios, (25, 50, 75))]

    p99 = [float(np.percentile(one[name]["ms"], 99) / np.percentile(one[other]["ms"], 99)) for one in slices]
    return {
        "processor_time_percent": quartiles([one[name]["processor_ms"] / one[other]["processor_ms"] for one in slices]),
        "throughput_percent": quartiles([one[name]["per_s"] / one[other]["per_s"] for one in slices]),
        "p99_percent": quartiles(p99),
    }


def _show(result: Mapping[str, Any]) -> None:
    columns = ("per_s", "p50_ms", "p99_ms", "processor_ms")
    show(
        f"{result['clients']} clients, one text per request, loopback, {result['rounds']} rounds in turn",
        columns=["server", "requests", *columns],
        rows=[
            [name, str(found["requests"]), *(f"{found[column]:g}" for column in columns)]
            for name, found in result["servers"].items()
        ],
        notes=[
            f"{name}, {against}: processor time of a request {found['processor_time_percent'][1]:+.1f} %, "
            f"throughput {found['throughput_percent'][1]:+.1f} %, p99 {found['p99_percent'][1]:+.1f} %"
            for against in ("against before", "against now")
            for name, found in result[against].items()
        ],
        machine=result["machine"],
    )


if __name__ == "__main__":
    main()
