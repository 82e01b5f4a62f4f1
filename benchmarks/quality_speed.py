"""How much quality does a measured speed cost, compared with Torch-Pruning and two plain baselines?

    python -m benchmarks.quality_speed --project .

Onnx fp32, batch 1, length 32, one thread. A finished run is a line of JSON in the work folder; the same command goes
on after an interruption.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from benchmarks.aiming import OutOfReach
from benchmarks.methods import METHODS, Task
from benchmarks.report import environment, points, show, write_results
from benchmarks.speed import speed_model, time_against
from benchmarks.statistics import Quality, quality_of
from benchmarks.subject import Subject, read_project
from secateur.budget.cost import cost_of
from secateur.determinism import fix_randomness
from secateur.files import remove
from secateur.models.checkpoint import load_tokenizer, save
from secateur.models.surgery import widths_of
from secateur.training.objectives import logits_of

NOTES = (
    "speed: dense / pruned time of one call, medians of one interleaved run over all models, every call after one of "
    "the dense model; the widths were chosen by bisection on a speed model measured on this machine",
    "macro-F1: test rows, median of the seeds; interval: 95 %, rows resampled jointly with those of the dense model; "
    "seeds: lowest and highest",
    "equal retraining: rows, epochs, rounds, batch, optimiser, rate, distillation; the cut alone differs",
    "tp-*: Torch-Pruning's own tracing, importance and defaults, local and isomorphic global ranking, the one with the "
    "lower validation loss after the cut; it never empties a layer, so where heads and neurons are not enough its "
    "residual stream is narrowed too",
)


@dataclass(frozen=True)
class Setup:
    """What all runs of one call share; a run found in the work folder counts only if it had the same."""

    project: str
    params: str
    rows: int | None
    epochs: float
    one_shot: bool
    tolerance: float
    work: str
    threads: int
    repeats: int

    def subject(self) -> Subject:
        """Read the project."""
        return read_project(Path(self.project), params=Path(self.params), num_rows=self.rows)

    def identity(self, subject: Subject) -> dict[str, Any]:
        """Return what a result depends on."""
        prune = subject.config.prune.model_dump(mode="json")
        weights = subject.card()["weights_sha256"]
        return {"rows": self.rows, "epochs": self.epochs, "one_shot": self.one_shot, "dense": weights, "prune": prune}


def run_one(setup: Setup, method: str, asked: float, seed: int) -> dict[str, Any]:
    """Cut, retrain and test one model; its checkpoint stays in the work folder."""
    work, name = Path(setup.work), f"{method}-{asked:g}x-{seed}"
    sys.stderr = (work / f"{name}.log").open("a", encoding="utf-8", buffering=1)  # two bars on one screen are none
    fix_randomness(seed=seed, num_threads=setup.threads)
    start = time.monotonic()
    subject = setup.subject()
    speeds = speed_model(subject.baseline, file=work / "speed.json", repeats=setup.repeats)
    task = Task(
        subject=subject,
        speeds=speeds,
        asked=asked,
        seed=seed,
        epochs=setup.epochs,
        one_shot=setup.one_shot,
        tolerance=setup.tolerance,
    )
    record: dict[str, Any] = {"method": method, "asked": asked, "seed": seed, "identity": setup.identity(subject)}
    try:
        model = METHODS[method](task)
    except OutOfReach as error:
        return record | {"fastest": error.fastest, "seconds": time.monotonic() - start}
    folder = work / name
    remove(folder)
    save(model, load_tokenizer(subject.baseline), folder, card=_card(subject, model), check_reload=False)
    logits = logits_of(model, subject.test, batch_size=64, precision="fp32")
    return record | {
        "checkpoint": folder.name,
        "predicted": logits.argmax(dim=-1).tolist(),
        "widths": widths_of(model).as_dict(),
        "hidden_size": int(vars(model.config)["hidden_size"]),
        "params": cost_of(model).params,
        "expected_speed": speeds.speed_of(model),
        "seconds": time.monotonic() - start,
    }


def _card(subject: Subject, model: Any) -> dict[str, Any]:
    dense = subject.card()
    kept = ("task", "labels", "max_length", "text_rules", "dense_widths")
    return {**{key: dense.get(key) for key in kept}, "widths": widths_of(model).as_dict()}


def start_worker(threads: int) -> None:
    """Prepare a worker: its share of the cores, and an end with its parent even if that is killed."""
    torch.set_num_threads(threads)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def collect(setup: Setup, wanted: Sequence[tuple[str, float, int]], *, jobs: int) -> list[dict[str, Any]]:
    """Return one record per wanted run: those of the work folder, and the missing ones, made now."""
    subject = setup.subject()
    file = Path(setup.work) / "runs.jsonl"
    identity = setup.identity(subject)
    done = {key: record for key, record in _read(file, identity).items() if key in set(wanted)}
    missing = [key for key in wanted if key not in done]
    click.echo(f"{len(done)} runs are there, {len(missing)} to do, {jobs} at a time")
    if not missing:
        return [done[key] for key in wanted]
    speed_model(subject.baseline, file=Path(setup.work) / "speed.json", repeats=setup.repeats)
    start = time.monotonic()
    with ProcessPoolExecutor(jobs, get_context("spawn"), start_worker, (setup.threads,)) as pool:
        running = {pool.submit(run_one, setup, *key): key for key in missing}
        for number, future in enumerate(as_completed(running), start=1):
            record = done[running[future]] = future.result()
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(record) + "\n")
            left = (time.monotonic() - start) / number * (len(missing) - number)
            what = f"{record['expected_speed']:.2f}x" if "checkpoint" in record else f"ends at {record['fastest']:.2f}x"
            click.echo(
                f"{number}/{len(missing)} {'-'.join(map(str, running[future]))}: {what}, {record['seconds']:.0f} s; "
                f"about {left / 60:.0f} min left"
            )
    return [done[key] for key in wanted]


def _read(file: Path, identity: dict[str, Any]) -> dict[tuple[str, float, int], dict[str, Any]]:
    found = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue  # the line that was being written when the process was killed
        usable = "checkpoint" not in record or (file.parent / record["checkpoint"]).is_dir()
        if record["identity"] == identity and usable:
            found[record["method"], record["asked"], record["seed"]] = record
    return found


def summarise(setup: Setup, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Time all checkpoints in one run and put the seeds of a method and speed together."""
    subject, work = setup.subject(), Path(setup.work)
    made = {record["checkpoint"]: work / record["checkpoint"] for record in records if "checkpoint" in record}
    timings = time_against(subject.baseline, made, repeats=setup.repeats, workdir=work / "onnx")
    dense = logits_of(subject.dense(), subject.test, batch_size=64, precision="fp32").argmax(dim=-1).numpy()
    entries = []
    for asked, method in dict.fromkeys((record["asked"], record["method"]) for record in records):
        group = [record for record in records if (record["asked"], record["method"]) == (asked, method)]
        hits = [record for record in group if "checkpoint" in record]
        entry: dict[str, Any] = {"method": method, "asked": asked, "num_seeds": len(hits)}
        if not hits:
            entries.append(entry | {"fastest": max(record["fastest"] for record in group)})
            continue
        predicted = np.array([record["predicted"] for record in hits])
        quality = quality_of(predicted, dense=dense, labels=subject.test.labels)
        times = [timings[record["checkpoint"]] for record in hits]
        entry |= {"timings": [asdict(timing) for timing in times], "quality": asdict(quality)}
        entry["speed"] = float(np.median([timing.speed for timing in times]))
        entry["median_ms"] = float(np.median([timing.median_ms for timing in times]))
        entry["runs"] = [{key: record[key] for key in ("seed", "widths", "hidden_size", "params")} for record in hits]
        entries.append(entry)
    return entries


def _row(entry: dict[str, Any]) -> list[str]:
    if "quality" not in entry:
        return [entry["method"], f"{entry['asked']:g}x", f"ends at {entry['fastest']:.2f}x", *["-"] * 6]
    quality = Quality(**entry["quality"])
    speeds = [timing["speed"] for timing in entry["timings"]]
    return [
        entry["method"],
        f"{entry['asked']:g}x",
        f"{entry['speed']:.2f}x ({min(speeds):.2f}-{max(speeds):.2f})",
        f"{entry['median_ms']:.2f}",
        f"{quality.macro_f1:.4f}",
        f"{quality.low:.4f}-{quality.high:.4f}",
        f"{min(quality.seeds):.4f}-{max(quality.seeds):.4f}",
        f"{points(quality.lost)} ({points(quality.lost_low)} to {points(quality.lost_high)})",
        str(entry["num_seeds"]),
    ]


def _split(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


@click.command()
@click.option("--project", default=".", show_default=True, help="folder of a finished `secateur run`")
@click.option("--params", default=None, help="parameters to use  [default: PROJECT/params.yaml]")
@click.option("--work", default=".benchmarks/quality_speed", show_default=True, help="folder of finished runs")
@click.option("--out", default=None, help="file of the results  [default: docs/results/quality_speed.json]")
@click.option("--epochs", default=3.0, show_default=True, help="passes over the rows, all rounds together")
@click.option("--rows", default=12000, show_default=True, help="training rows; 0 = all")
@click.option("--seeds", default=3, show_default=True, help="seeds 0, 1, ...")
@click.option("--speeds", default="2,4,8", show_default=True, callback=_split, help="times faster than dense")
@click.option("--methods", default=",".join(METHODS), show_default=True, callback=_split)
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="processes, which share the cores")
@click.option("--one-shot", is_flag=True, help="cut once, instead of in the rounds of the parameters")
@click.option("--tolerance", default=0.05, show_default=True, help="relative error of the expected speed")
@click.option("--repeats", default=100, show_default=True, help="timed calls")
@click.option("--redo", default="", callback=_split, help="methods whose finished runs are made again")
def main(
    project: str,
    params: str | None,
    work: str,
    out: str | None,
    epochs: float,
    rows: int,
    seeds: int,
    speeds: tuple[str, ...],
    methods: tuple[str, ...],
    jobs: int,
    one_shot: bool,
    tolerance: float,
    repeats: int,
    redo: tuple[str, ...],
) -> None:
    """Compare quality at equal measured speed and equal retraining."""
    if unknown := [name for name in (*methods, *redo) if name not in METHODS]:
        raise click.UsageError(f"no method {', '.join(unknown)}; there are {', '.join(METHODS)}")
    Path(work).mkdir(parents=True, exist_ok=True)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    # Workers inherit it; threads that wait actively take the cores from the other job.
    os.environ |= {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
    setup = Setup(
        project=project,
        params=params or str(Path(project) / "params.yaml"),
        rows=rows or None,
        epochs=epochs,
        one_shot=one_shot,
        tolerance=tolerance,
        work=work,
        threads=threads,
        repeats=repeats,
    )
    _forget(Path(work) / "runs.jsonl", redo)
    wanted = [(m, float(s), seed) for seed, s, m in product(range(seeds), speeds, methods)]
    records = collect(setup, wanted, jobs=jobs)
    entries = sorted(summarise(setup, records), key=lambda entry: (entry["asked"], methods.index(entry["method"])))
    columns = ("method", "asked", "measured", "ms", "macro-F1", "95 %", "seeds", "points lost (95 %)", "n")
    title = f"Quality at equal speed: {rows or 'all'} rows x {epochs:g} epochs"
    show(title, columns=columns, rows=[_row(entry) for entry in entries], notes=NOTES, machine=environment())
    result = {"machine": environment(), "setup": asdict(setup) | {"work": "", "project": "", "params": ""}}
    write_results("quality_speed", result | {"entries": entries}, out=Path(out) if out else None)


def _forget(file: Path, methods: Sequence[str]) -> None:
    if methods and file.exists():
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        file.write_text("".join(line for line in lines if json.loads(line)["method"] not in methods), encoding="utf-8")


if __name__ == "__main__":
    main()
