"""What was measured of registered models, in words: a line per number, with its unit, a cell per model."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from secateur.kinds.base import Kind
from secateur.report import formats
from secateur.report.results import TORCH

_Write = Callable[[float], str]
_ENDS = ("_low", "_high")
_PER_BATCH = re.compile(r"tokens_per_second_(\d+)")


@dataclass(frozen=True)
class Line:
    """One number of every model: what it is, and what stands in each cell; empty where a model has none."""

    name: str
    cells: tuple[str, ...]


def measured(metrics: Sequence[Mapping[str, float]], *, kind: Kind | None, runtime: str) -> list[Line]:
    """Return the lines of some models side by side.

    Args:
        metrics: of each model, as they were registered.
        kind: of all of them; None where nobody knows: its scores have their plain names then.
        runtime: the form that is deployed.
    """
    known = {name for found in metrics for name in found}
    named = _named(kind, runtime)
    rank = {name: place for place, name in enumerate(named)}
    lines = []
    for name in sorted(known, key=lambda one: (rank.get(one, len(rank)), one)):
        if name.endswith(_ENDS) and name.rpartition("_")[0] in known:
            continue
        title, write = named.get(name) or _other(name)
        values = [found.get(name) for found in metrics]
        write = _common(name, [value for value in values if value is not None]) or write
        lines.append(Line(title, tuple("" if value is None else write(value) for value in values)))
        if all(f"{name}{end}" in known for end in _ENDS):
            ends = [[found.get(f"{name}{end}") for end in _ENDS] for found in metrics]
            cells = ("" if low is None or high is None else f"{write(low)} to {write(high)}" for low, high in ends)
            lines.append(Line("  its interval", tuple(cells)))
    return lines


def _named(kind: Kind | None, runtime: str) -> dict[str, tuple[str, _Write]]:
    """Return name -> words and how its value is written, in the order in which a reader asks."""
    form, torch = formats.runtime(runtime), formats.runtime(TORCH)
    scores = [] if kind is None else list(kind.presentation().scores)
    titles = {score.name: " ".join(filter(None, (score.title, score.note))) for score in scores}
    change = _signed if kind is None or kind.measure.higher_is_better else formats.signed_percent
    named: dict[str, tuple[str, _Write]] = {
        f"deployed_{score.name}": (f"{titles[score.name]}, {form}", score.write) for score in scores
    }
    named["deployed_change"] = (f"Against dense, {form}", change)
    named |= {
        "deployed_lost": ("Rows that only dense gets right", formats.count),
        "deployed_won": ("Rows that only this one gets right", formats.count),
        "deployed_p_value": ("  p of as many by chance", "{:.2g}".format),
    }
    for score in scores:
        named[score.name] = (f"{titles[score.name]}, {torch}", score.write)
        named[f"{score.name}_change"] = (f"Against dense, {torch}", change)
        named[f"robust_{score.name}"] = (f"{titles[score.name]} under attack, {torch}", score.write)
    named |= {
        "robust_drop": ("  lost under attack", lambda value: formats.points(-value) + " points"),
        "loss": (f"Loss, {torch}, nats", "{:.4f}".format),
    }
    for name in dict.fromkeys((runtime, TORCH, "onnx", "onnx-int8")):
        named[f"{name}_ms"] = (f"Time of a call, {formats.runtime(name)}", "{:.2f} ms".format)
        named[f"{name}_speedup"] = ("  as fast as dense", "{:.2f}x".format)
    return named | {
        "macs": ("Multiply-accumulates per row", _unit()),
        "params": ("Parameters", _unit()),
        "nonembedding_params": ("  outside the embeddings", _unit()),
        "sparsity": ("  of those, gone", partial(formats.percent, decimals=1)),
        "deployed_bytes": (f"On disk, {form}", _unit("B")),
        "bytes": (f"Weights, {torch}", _unit("B")),
        "compressed_bytes": ("  compressed", _unit("B")),
        "budget_asked": ("Budget, asked", "{:g}".format),
        "budget_achieved": ("Budget, achieved", "{:.4f}".format),
    }


def _other(name: str) -> tuple[str, _Write]:
    if found := _PER_BATCH.fullmatch(name):
        return f"Tokens per second, {found[1]} at once", formats.count
    return formats.sentence(name.replace("_", " ")) if name.strip("_") else name, "{:.6g}".format


def _common(name: str, values: Sequence[float]) -> _Write | None:
    """Return what writes numbers of one line in one unit, where they have one that grows."""
    if name in ("macs", "params", "nonembedding_params"):
        return formats.unit_for(values).with_symbol
    return formats.unit_for(values, "B").with_symbol if name.endswith("bytes") else None


def _unit(suffix: str = "") -> _Write:
    return lambda value: formats.unit_for([value], suffix).with_symbol(value)


def _signed(value: float) -> str:
    return f"{formats.points(value)} points"
