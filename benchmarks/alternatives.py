"""What would a user pick instead of a pruned model?

    python -m benchmarks.alternatives --project . models/r3

The dense model in PyTorch, ONNX Runtime and int8, tuned TF-IDF with logistic regression on the same rows, and the given
folders: checkpoints (in all three forms) or ONNX exports (as they are).
"""

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from benchmarks.report import environment, points, show, write_results
from benchmarks.rivals import Form, Rows, read_rows, tf_idf, transformer
from benchmarks.statistics import quality_of
from benchmarks.subject import BASELINE
from secateur.formats.onnx import export_onnx
from secateur.models.folders import WEIGHTS

_TEXTS = 200
_NOTES = (
    "ms: from one text to its label (rules, tokens, model), batch 1, one thread, real test texts, all forms in turn in "
    "one run, in the thread's own time; 5th and 95th percentile",
    "call ms: the model alone on 32 tokens, in the same kind of run",
    "bytes: the model file; tokenizer.json of MiniLM adds 0.7 MB; TF-IDF: its pickle",
    "points lost: against dense torch, rows resampled jointly, 95 %; no seeds are varied here",
)


def open_forms(folders: Mapping[str, Path], clean: Path, scratch: Path) -> dict[str, Form]:
    """Open every form, the dense model in torch first."""
    forms = {}
    for name, folder in folders.items():
        if not (folder / WEIGHTS).is_file():
            forms[name] = transformer(folder)
            continue
        forms[f"{name} torch"] = transformer(folder)
        for runtime, int8 in (("onnx", False), ("onnx-int8", True)):
            out = scratch / f"{len(forms)}"
            export_onnx(folder, out, int8=int8)
            forms[f"{name} {runtime}"] = transformer(out)
    return forms | {"tuned TF-IDF + logistic regression": tf_idf(Rows.read(clean))}


def timed(calls: Mapping[str, Callable[[int], object]], *, repeats: int) -> dict[str, list[float]]:
    """Call everything in turn; return milliseconds (low, median, high) after ten turns of warm-up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(-10, repeats):
        for name, call in calls.items():
            start = time.thread_time_ns()
            call(turn % _TEXTS)
            if turn >= 0:
                times[name].append((time.thread_time_ns() - start) / 1e6)
    return {name: np.percentile(values, (5, 50, 95)).tolist() for name, values in times.items()}


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--project", default=Path(), type=click.Path(path_type=Path), help="folder of a finished `secateur run`")
@click.option("--out", default=None, type=click.Path(path_type=Path), help="file of the results")
@click.option("--repeats", default=200, show_default=True, help="timed calls of each form")
@click.option("--rows", default=0, help="test rows; 0 = all")
def main(folders: tuple[Path, ...], project: Path, out: Path | None, repeats: int, rows: int) -> None:
    """Put dense forms, TF-IDF and the given FOLDERS into one table."""
    torch.set_num_threads(1)
    clean = project / "data" / "clean"
    texts, labels = read_rows(clean / "test.parquet")
    chosen = np.linspace(0, len(texts) - 1, rows or len(texts)).astype(np.int64)  # the table is sorted by label
    texts, labels = [texts[index] for index in chosen], labels[chosen]
    named = {"dense": project / BASELINE} | {str(folder): folder for folder in folders}
    with tempfile.TemporaryDirectory() as scratch:
        forms = open_forms(named, clean, Path(scratch))
        ms = timed({name: on_text(form, texts) for name, form in forms.items()}, repeats=repeats)
        calls = {name: _ignoring_turn(form.call) for name, form in forms.items() if form.call is not None}
        call_ms = timed(calls, repeats=repeats)
        found = {name: np.array(form.classify(texts)) for name, form in forms.items()}
    dense = next(iter(found))
    entries = []
    for name, form in forms.items():
        quality = quality_of(found[name][None], dense=found[dense], labels=labels)
        entry = {"form": name, "macro_f1": quality.macro_f1, "low": quality.low, "high": quality.high}
        entry |= {"lost": quality.lost, "lost_low": quality.lost_low, "lost_high": quality.lost_high}
        entry |= {"ms": ms[name], "call_ms": call_ms.get(name), "bytes": form.num_bytes}
        entries.append(entry | {"speed": ms[dense][1] / ms[name][1]})
    columns = ("form", "macro-F1 (95 %)", "points lost (95 %)", "ms (5-95 %)", "times faster", "call ms", "MB")
    shown = [_row(entry) for entry in entries]
    show("Alternatives", columns=columns, rows=shown, notes=_NOTES, machine=environment())
    write_results("alternatives", {"machine": environment(), "entries": entries}, out=out)


def on_text(form: Form, texts: list[str]) -> Callable[[int], object]:
    """Return what classifies one of the texts, another one each turn."""
    return lambda turn: form.classify([texts[turn % len(texts)]])


def _ignoring_turn(call: Callable[[], object]) -> Callable[[int], object]:
    return lambda _: call()


def _row(entry: Mapping[str, Any]) -> list[str]:
    low, median, high = entry["ms"]
    call = entry["call_ms"]
    return [
        entry["form"],
        f"{entry['macro_f1']:.4f} ({entry['low']:.4f}-{entry['high']:.4f})",
        f"{points(entry['lost'])} ({points(entry['lost_low'])} to {points(entry['lost_high'])})",
        f"{median:.2f} ({low:.2f}-{high:.2f})",
        f"{entry['speed']:.2f}x",
        "-" if call is None else f"{call[1]:.2f} ({call[0]:.2f}-{call[2]:.2f})",
        f"{entry['bytes'] / 1e6:.1f}",
    ]


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
