"""Measured speed against the dense model, and a model of it that saves an export for every candidate.

Every timed call of a model follows one call of the dense model: both find the caches as the other left them, and a
slow minute hits both alike. ONNX Runtime fp32, one thread.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from benchmarks.report import environment
from secateur.errors import ModelError
from secateur.evaluation.latency import time_runners
from secateur.evaluation.runners import Runner, open_runner
from secateur.files import write_json
from secateur.models.card import read_card
from secateur.models.checkpoint import load, save
from secateur.models.families import family_of
from secateur.models.structures import Masks, Widths
from secateur.models.surgery import cut_, widths_of

BATCH, LENGTH, NUM_THREADS = 1, 32, 1
_SHARES = (1.0, 0.75, 0.5, 0.33, 0.25, 0.17, 0.08, 0.04, 0.01, 0.0)
_MIDDLE = 0.33
"""Share of the other kind while one kind is varied: the middle of what the asked speeds need."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a call, and how many times faster than the dense model next to it.

    Attributes:
        median_ms: of the model.
        low_ms: 5th percentile.
        high_ms: 95th percentile.
        dense_ms: median of the dense model's calls in between.
        speed: ``dense_ms / median_ms``.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    dense_ms: float
    speed: float


def time_against(dense: Path, others: Mapping[str, Path], *, repeats: int, workdir: Path) -> dict[str, Timing]:
    """Time checkpoints in one interleaved run, each call after one of the dense model."""
    reference = _runner(dense, workdir)
    pairs: dict[tuple[str, str], Runner] = {}
    for name, folder in others.items():
        pairs |= {(name, "dense"): reference, (name, "model"): _runner(folder, workdir)}
    ids = np.random.default_rng(0).integers(1000, size=(BATCH, LENGTH), dtype=np.int64)
    times = time_runners(pairs, ids=ids, repeats=repeats)
    timings = {}
    for name in others:
        low, median, high = np.percentile(times[name, "model"], (5, 50, 95)).tolist()
        dense_ms = float(np.median(times[name, "dense"]))
        timings[name] = Timing(median, low, high, dense_ms, speed=dense_ms / median)
    return timings


def measured_speed(model: PreTrainedModel, *, dense: Path, repeats: int, cache: Path) -> float:
    """Export a model and time it against the dense one: about 8 s, once per shape."""
    hidden = family_of(model).hidden_size(model.config)
    shape = json.dumps([hidden, widths_of(model).as_dict(), read_card(dense)["weights_sha256"], environment()])
    file = cache / f"{hashlib.sha256(shape.encode()).hexdigest()[:16]}.json"
    if not file.exists():
        write_json(file, {"shape": json.loads(shape), "speed": _export_and_time(model, dense=dense, repeats=repeats)})
    return float(json.loads(file.read_text(encoding="utf-8"))["speed"])


def _export_and_time(model: PreTrainedModel, *, dense: Path, repeats: int) -> float:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        save(model, None, folder, card={}, check_reload=False)
        return time_against(dense, {"model": folder}, repeats=repeats, workdir=Path(scratch) / "onnx")["model"].speed


@dataclass(frozen=True)
class SpeedModel:
    """Time of one call as the dense time less what every layer saves, linear between measured widths.

    Attributes:
        dense_ms: of the dense model.
        heads: measured numbers of heads, ascending.
        heads_ms: time of one layer's attention at these, less that of the dense one.
        ffn: measured numbers of neurons, ascending.
        ffn_ms: the same for the feed-forward block.
    """

    dense_ms: float
    heads: tuple[int, ...]
    heads_ms: tuple[float, ...]
    ffn: tuple[int, ...]
    ffn_ms: tuple[float, ...]

    def speed(self, widths: Widths) -> float:
        """Return how many times faster than dense a model of these widths is."""
        saved = np.interp(widths.heads, self.heads, self.heads_ms).sum()
        saved += np.interp(widths.ffn, self.ffn, self.ffn_ms).sum()
        # Far outside the measured range only; a negative time would turn a bisection around.
        return self.dense_ms / max(self.dense_ms + float(saved), 0.02 * self.dense_ms)


def speed_model(dense: Path, *, file: Path, repeats: int) -> SpeedModel:
    """Return the speed model of this machine: read when it is there, else measured (2 minutes on an idle one)."""
    identity = {"weights": read_card(dense)["weights_sha256"], "machine": environment()}
    if file.exists():
        stored = json.loads(file.read_text(encoding="utf-8"))
        if stored["identity"] == identity:
            found = stored["model"]
            heads, ffn = (tuple(found[name]) for name in ("heads", "ffn"))
            return SpeedModel(found["dense_ms"], heads, tuple(found["heads_ms"]), ffn, tuple(found["ffn_ms"]))
    model = _measure(dense, repeats=repeats)
    write_json(file, {"identity": identity, "model": asdict(model)})
    return model


def _measure(dense: Path, *, repeats: int) -> SpeedModel:
    full = widths_of(load(dense))
    heads = sorted({round(share * full.heads[0]) for share in _SHARES})
    ffn = sorted({_rounded(share * full.ffn[0]) for share in _SHARES})
    middle = (round(_MIDDLE * full.heads[0]), _rounded(_MIDDLE * full.ffn[0]))
    wanted = {(count, middle[1]) for count in heads} | {(middle[0], count) for count in ffn} | {(heads[-1], ffn[-1])}
    with tempfile.TemporaryDirectory() as scratch:
        folders = {}
        for pair in sorted(wanted):
            folder = Path(scratch) / f"{pair[0]}-{pair[1]}"
            if _save_uniform(dense, pair, folder):
                folders[folder.name] = folder
        timings = time_against(dense, folders, repeats=repeats, workdir=Path(scratch) / "onnx")
    times = {name: timing.dense_ms - timing.median_ms for name, timing in timings.items()}
    layers = full.num_layers

    def per_layer(counts: Sequence[int], *, of_heads: bool) -> tuple[tuple[int, ...], tuple[float, ...]]:
        named = {count: f"{count}-{middle[1]}" if of_heads else f"{middle[0]}-{count}" for count in counts}
        known = [count for count in counts if named[count] in times]
        widest = times[named[known[-1]]]
        saved = np.array([(widest - times[named[count]]) / layers for count in known])
        # More never costs less: noise would otherwise turn a bisection around.
        return tuple(known), tuple(np.maximum.accumulate(saved).tolist())

    known_heads, heads_ms = per_layer(heads, of_heads=True)
    known_ffn, ffn_ms = per_layer(ffn, of_heads=False)
    dense_ms = float(np.median([timing.dense_ms for timing in timings.values()]))
    return SpeedModel(dense_ms, known_heads, heads_ms, known_ffn, ffn_ms)


def _save_uniform(dense: Path, pair: tuple[int, int], folder: Path) -> bool:
    """Write a model with the same widths in every layer; tell whether such a narrow one can be built."""
    model = load(dense, verify=False)
    widths = widths_of(model)
    masks = Masks(
        heads=tuple(torch.arange(count) < pair[0] for count in widths.heads),
        ffn=tuple(torch.arange(count) < pair[1] for count in widths.ffn),
    )
    try:
        cut_(model, masks)
    except ModelError:
        return False
    save(model, None, folder, card={}, check_reload=False)
    return True


def _runner(folder: Path, workdir: Path) -> Runner:
    return open_runner(folder, runtime="onnx", num_threads=NUM_THREADS, workdir=workdir)


def _rounded(neurons: float) -> int:
    return round(neurons / 16) * 16
