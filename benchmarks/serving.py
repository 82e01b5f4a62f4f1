"""What does a request cost, beside ``mlflow models serve`` on the same model, and does a promotion fail any?

``secateur serve`` and MLflow's own server run side by side on loopback, and one process with many clients
(``http_load``) asks them in turn: MLflow, ours, MLflow. In the middle of ours the alias is moved, as a promotion does.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from mlflow import MlflowClient

from benchmarks.report import environment, show, write_results
from secateur.errors import ModelError
from secateur.registry.mlflow_store import ModelRegistry
from secateur.workflow.project import Project

ALIAS = "load-test"
_START_S = 180.0
_NUM_TEXTS = 2000
_WARM_UP_S = 2.0


@click.command()
@click.option("--project", default=Path(), type=click.Path(path_type=Path), help="folder of a finished `secateur run`")
@click.option("--out", default=None, type=click.Path(path_type=Path), help="file of the results")
@click.option("--clients", default=32, show_default=True, help="clients that ask at once")
@click.option("--seconds", default=60.0, show_default=True, help="load on each server")
def main(project: Path, out: Path | None, clients: int, seconds: float) -> None:
    """Load `secateur serve` and `mlflow models serve` in turn, with a promotion in the middle of ours."""
    result = measure(project.resolve(), num_clients=clients, seconds=seconds)
    _show(result)
    write_results("serving", result, out=out)


def measure(root: Path, *, num_clients: int, seconds: float) -> dict[str, Any]:
    """Serve the two newest versions of a finished project and ask for the newest of them."""
    registry = ModelRegistry(Project(root))
    name, before, newest = _two_versions(registry)
    registry.set_alias(name, ALIAS, before)
    environment_ = {**os.environ, "MLFLOW_TRACKING_URI": registry.uri}
    try:
        with (
            tempfile.TemporaryDirectory() as scratch,
            _mlflow(f"models:/{name}/{newest}", Path(scratch), environment_) as theirs,
            _ours(f"models:/{name}@{ALIAS}", root, Path(scratch)) as ours,
        ):
            texts = _texts(root, Path(scratch))
            clients = partial(_run_clients, texts=texts, clients=num_clients)
            clients("mlflow", theirs, seconds=_WARM_UP_S).communicate()
            clients("secateur", ours, seconds=_WARM_UP_S).communicate()
            first = _finish(clients("mlflow", theirs, seconds=seconds / 2))
            running = clients("secateur", ours, seconds=seconds)
            time.sleep(seconds / 2)
            registry.set_alias(name, ALIAS, newest)
            own = _finish(running)
            last = _finish(clients("mlflow", theirs, seconds=seconds / 2))
    finally:
        MlflowClient(registry.uri).delete_registered_model_alias(name, ALIAS)
    answered = own["answers"]
    taken_over = next((a["at"] for a in answered if a["version"] == newest), None)
    same = [a for a in answered if taken_over is not None and a["at"] >= taken_over]
    theirs_all = first["answers"] + last["answers"]
    return {
        "machine": environment(),
        "clients": num_clients,
        "model": name,
        "version_before": before,
        "version_after": newest,
        "seconds": seconds,
        "promotion_at_s": seconds / 2,
        "first_answer_of_promoted_at_s": None if taken_over is None else round(taken_over, 3),
        "answers_by_version": dict(Counter(a["version"] for a in answered if a["version"])),
        "servers": {
            "secateur, with the promotion": _figures(answered, seconds=seconds),
            "secateur, after it": _figures(same, seconds=seconds - (taken_over or seconds)),
            "mlflow models serve": _figures(theirs_all, seconds=seconds),
        },
        "different_labels": _different(same, theirs_all),
    }


def _figures(answers: Sequence[Mapping[str, Any]], *, seconds: float) -> dict[str, Any]:
    """Latency in ms of the answered requests; throughput in requests per second."""
    good = [a["ms"] for a in answers if a["problem"] is None]
    failed = [a["problem"] for a in answers if a["problem"] is not None]
    p50, p99 = np.percentile(good, (50, 99)).tolist() if good else (None, None)
    return {
        "requests": len(answers),
        "failed": len(failed),
        "reasons": dict(Counter(failed)),
        "per_s": round(len(good) / seconds, 1) if seconds else None,
        "p50_ms": p50,
        "p99_ms": p99,
        "max_ms": max(good, default=None),
    }


def _different(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count the texts that both classified, and those with another label."""
    said = {a["text"]: a["label"] for a in theirs if a["problem"] is None}
    both = {a["text"]: a["label"] for a in ours if a["problem"] is None and a["text"] in said}
    return {"texts": len(both), "different": sum(said[text] != label for text, label in both.items())}


def _two_versions(registry: ModelRegistry) -> tuple[str, str, str]:
    for model in registry.models():
        if len(model.versions) > 1:
            newest, before, *_ = model.versions
            return model.name, before.version, newest.version
    raise ModelError("no model with two versions is registered; `secateur run` registers the baseline and every round")


def _texts(root: Path, folder: Path) -> Path:
    import pyarrow.parquet as pq

    texts = pq.read_table(root / "data" / "clean" / "test.parquet").column("text").to_pylist()[:_NUM_TEXTS]
    file = folder / "texts.json"
    file.write_text(json.dumps(texts), encoding="utf-8")
    return file


@contextmanager
def _ours(reference: str, root: Path, scratch: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "secateur.cli", "serve", reference, "--port", "0", "--json"]
    code = Path(__file__).resolve().parents[1]
    # The code of this checkout, whatever the project carries.
    environment_ = {**os.environ, "PYTHONPATH": str(code), "SECATEUR_WORKSPACE_CODE": str(code)}
    with (scratch / "ours.log").open("w+") as log:
        process = subprocess.Popen(command, cwd=root, env=environment_, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise ModelError(f"secateur serve did not start: {(scratch / 'ours.log').read_text()}")
            yield json.loads(line)["url"]
        finally:
            process.terminate()
            process.wait(timeout=60)


@contextmanager
def _mlflow(reference: str, scratch: Path, environment_: Mapping[str, str]) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = str(Path(__file__).resolve().parents[1])
    arguments = ["models", "serve", "-m", reference, "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
    with (scratch / "mlflow.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *arguments],
            cwd=scratch,
            env={**environment_, "PYTHONPATH": code},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(f"{url}/ping", process, scratch / "mlflow.log")
            yield url
        finally:
            # It starts the server as a grandchild.
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.25)
    raise ModelError(f"mlflow models serve did not start: {log.read_text()[-2000:]}")


def _run_clients(kind: str, url: str, *, texts: Path, clients: int, seconds: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.http_load", kind, url, str(texts), str(clients), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _finish(process: "subprocess.Popen[str]") -> dict[str, Any]:
    out, _ = process.communicate()
    result: dict[str, Any] = json.loads(out)
    return result


def _show(result: Mapping[str, Any]) -> None:
    rows = [
        [
            server,
            str(found["requests"]),
            str(found["failed"]),
            f"{found['per_s']:.0f}" if found["per_s"] else "",
            *(f"{found[key]:.1f}" if found[key] is not None else "" for key in ("p50_ms", "p99_ms", "max_ms")),
        ]
        for server, found in result["servers"].items()
    ]
    different = result["different_labels"]
    show(
        f"{result['clients']} clients, one text per request, loopback",
        columns=["server", "requests", "failed", "requests/s", "p50 ms", "p99 ms", "max ms"],
        rows=rows,
        notes=[
            f"the alias moved from version {result['version_before']} to {result['version_after']} after "
            f"{result['promotion_at_s']:g} s; the first answer of the new one came after "
            f"{result['first_answer_of_promoted_at_s']} s",
            "mlflow is asked half before and half after",
            f"{different['different']} of {different['texts']} texts got another label from the other server",
        ],
        machine=result["machine"],
    )


if __name__ == "__main__":
    main()
