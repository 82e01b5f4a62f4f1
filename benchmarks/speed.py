"""Measured speed against the dense model, and a model of it that saves an export for every candidate.

Every timed call of a model follows one call of the dense model: both find the caches as the other left them, and a
slow minute hits both alike. ONNX Runtime fp32, one thread.
"""

import json
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from benchmarks.report import environment
from secateur.families import family_of
from secateur.families.structures import Masks, Widths
from secateur.files import write_json
from secateur.inference.latency import time_runners
from secateur.inference.runners import Runner, open_runner
from secateur.models.card import read_card
from secateur.models.checkpoint import load, save
from secateur.models.hidden import cut_hidden_
from secateur.models.surgery import cut_, widths_of

BATCH, LENGTH, NUM_THREADS = 1, 32, 1
_SHARES = (1.0, 0.75, 0.5, 0.33, 0.25, 0.17, 0.08, 0.04, 0.01, 0.0)
_HIDDEN_SHARES = (1.0, 0.75, 0.5, 0.33, 0.25, 0.17, 0.08)
_FLOOR = (1, 16)
"""Heads and neurons of a layer with next to nothing in it."""

_MIDDLE = 0.33
"""Share of the other kind while one kind is varied: the middle of what the asked speeds need."""

_Shape = tuple[int, int, int]
"""Heads and neurons of every layer, and the width of the residual stream."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a call, and how many times faster than the dense model.

    Attributes:
        median_ms: of the model.
        low_ms: 5th percentile.
        high_ms: 95th percentile.
        dense_ms: median of all calls of the dense model in this run.
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
    times = time_runners(pairs, ids=ids, repeats=repeats, num_threads=NUM_THREADS)
    timings = {}
    dense_ms = float(np.median([ms for name in others for ms in times[name, "dense"]]))
    for name in others:
        low, median, high = np.percentile(times[name, "model"], (5, 50, 95)).tolist()
        timings[name] = Timing(median, low, high, dense_ms, speed=dense_ms / median)
    return timings


@dataclass(frozen=True)
class SpeedModel:
    """Time of one call as the dense time less what every block and the residual stream save.

    Linear between measured points; the products of a block cost in proportion to the width of the stream.

    Attributes:
        dense_ms: of the dense model.
        heads: measured numbers of heads, ascending.
        heads_ms: time of one layer's attention at these, less that of the dense one.
        ffn: measured numbers of neurons, ascending.
        ffn_ms: the same for the feed-forward block.
        hidden: measured widths of the residual stream, ascending.
        hidden_ms: time of a whole model of these with next to nothing in its blocks.
    """

    dense_ms: float
    heads: tuple[int, ...]
    heads_ms: tuple[float, ...]
    ffn: tuple[int, ...]
    ffn_ms: tuple[float, ...]
    hidden: tuple[int, ...]
    hidden_ms: tuple[float, ...]

    def speed_of(self, model: PreTrainedModel) -> float:
        """Return how many times faster than dense a model is expected to be."""
        return self.speed(widths_of(model), hidden=family_of(model).hidden_size(model.config))

    def speed(self, widths: Widths, *, hidden: int) -> float:
        """Return how many times faster than dense a model of these widths is."""
        layers = widths.num_layers
        sums = self._sum(widths.heads, widths.ffn)
        almost_empty = self._sum((_FLOOR[0],) * layers, (_FLOOR[1],) * layers)
        # What blocks save does not quite add up: the sums are stretched to meet both ends.
        stretch = (self.hidden_ms[-1] - self.dense_ms) / almost_empty
        blocks = (sums - almost_empty) * stretch * hidden / self.hidden[-1]
        expected = float(np.interp(hidden, self.hidden, self.hidden_ms)) + blocks
        # Below the measured range; a negative time would turn a bisection around.
        return self.dense_ms / max(expected, 0.02 * self.dense_ms)

    def _sum(self, heads: Sequence[int], ffn: Sequence[int]) -> float:
        attention = np.interp(heads, self.heads, self.heads_ms).sum()
        return float(attention + np.interp(ffn, self.ffn, self.ffn_ms).sum())


def speed_model(dense: Path, *, file: Path, repeats: int) -> SpeedModel:
    """Return the speed model of this machine: read when it is there, else measured (3 minutes on an idle one)."""
    identity = {"weights": read_card(dense)["weights_sha256"], "machine": environment()}
    if file.exists():
        stored = json.loads(file.read_text(encoding="utf-8"))
        if stored["identity"] == identity:
            found = {key: tuple(value) for key, value in stored["model"].items() if key != "dense_ms"}
            return SpeedModel(dense_ms=stored["model"]["dense_ms"], **found)
    model = _measure(dense, repeats=repeats)
    write_json(file, {"identity": identity, "model": asdict(model)})
    return model


def _measure(dense: Path, *, repeats: int) -> SpeedModel:
    """Time uniform models: one kind varies while the other is at a third, then the stream with almost empty blocks."""
    model = load(dense)
    full, hidden_size = widths_of(model), family_of(model).hidden_size(model.config)
    heads = sorted({round(share * full.heads[0]) for share in _SHARES})
    ffn = sorted({_rounded(share * full.ffn[0], 16) for share in _SHARES})
    hidden = sorted({max(32, _rounded(share * hidden_size, 32)) for share in _HIDDEN_SHARES})
    middle = (round(_MIDDLE * full.heads[0]), _rounded(_MIDDLE * full.ffn[0], 16))
    of_heads = [(count, middle[1], hidden_size) for count in heads]
    of_ffn = [(middle[0], count, hidden_size) for count in ffn]
    of_hidden = [(*_FLOOR, count) for count in hidden]
    times = _time_uniform(dense, {*of_heads, *of_ffn, *of_hidden}, repeats=repeats)
    dense_ms = next(iter(times.values())).dense_ms

    def saved(shapes: Sequence[_Shape]) -> tuple[float, ...]:
        # More never costs less: noise would otherwise turn a bisection around.
        found = np.maximum.accumulate([times[shape].median_ms - times[shape].dense_ms for shape in shapes])
        return tuple(((found - found[-1]) / full.num_layers).tolist())

    floor = np.maximum.accumulate([times[shape].median_ms for shape in of_hidden])
    return SpeedModel(
        dense_ms=dense_ms,
        heads=tuple(heads),
        heads_ms=saved(of_heads),
        ffn=tuple(ffn),
        ffn_ms=saved(of_ffn),
        hidden=tuple(hidden),
        hidden_ms=tuple(floor.tolist()),
    )


def _time_uniform(dense: Path, shapes: Collection[_Shape], *, repeats: int) -> dict[_Shape, Timing]:
    """Time models with the same widths in every layer; which weights they keep does not matter."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = {str(shape): Path(scratch) / "-".join(map(str, shape)) for shape in sorted(shapes)}
        for heads, neurons, hidden in sorted(shapes):
            model = load(dense, verify=False)
            widths, hidden_size = widths_of(model), family_of(model).hidden_size(model.config)
            cut_hidden_(model, torch.arange(hidden_size) < hidden)
            masks = Masks(
                heads=tuple(torch.arange(count) < heads for count in widths.heads),
                ffn=tuple(torch.arange(count) < neurons for count in widths.ffn),
            )
            cut_(model, masks)
            save(model, None, folders[str((heads, neurons, hidden))], card={}, check_reload=False)
        timings = time_against(dense, folders, repeats=repeats, workdir=Path(scratch) / "onnx")
    return {shape: timings[str(shape)] for shape in shapes}


def _runner(folder: Path, workdir: Path) -> Runner:
    return open_runner(folder, runtime="onnx", num_threads=NUM_THREADS, workdir=workdir)


def _rounded(count: float, multiple: int) -> int:
    return round(count / multiple) * multiple
