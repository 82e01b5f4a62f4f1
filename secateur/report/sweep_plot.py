"""The picture of a sweep: quality against size, one line per method, the front of all of them drawn through."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
from matplotlib.figure import Figure

from secateur.kinds.registry import measure_named

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c8c8c")
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")


def draw_sweep(values: Mapping[str, Any], path: Path) -> None:
    """Draw ``Sweep.as_dict()`` into an SVG file; equal values give equal bytes."""
    measure = measure_named(values["measure"])
    dense, points = values["dense"], [point for point in values["points"] if point["error"] is None]
    methods = list(dict.fromkeys(point["method"] for point in points))
    with mpl.style.context(["default", {"svg.hashsalt": "sweep", "svg.fonttype": "none", "font.size": 11}]):
        figure = Figure(figsize=(7.6, 4.8), layout="constrained")
        axes = figure.add_subplot()
        axes.axhline(dense[measure.name], color="#8c8c8c", linewidth=1, dashes=(4, 3))
        place = (0.01, dense[measure.name])
        axes.annotate("dense", place, xycoords=("axes fraction", "data"), xytext=(0, 4), textcoords="offset points")
        for index, method in enumerate(methods):
            colour, marker = _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)]
            own = sorted(_places(points, dense, score=measure.name, method=method))
            axes.plot(*zip(*own, strict=True), color=colour, marker=marker, label=method, linewidth=1.4)
        front = sorted(_places([point for point in points if point["front"]], dense, score=measure.name))
        axes.plot(*zip(*front, strict=True), color="#000000", linewidth=5, alpha=0.15, label="Pareto front", zorder=1)
        axes.set_xlabel("multiply-accumulates, share of dense")
        axes.set_ylabel(f"{measure.title} on validation")
        if not measure.higher_is_better:  # small budgets are worse by factors
            axes.set_yscale("log")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _places(
    points: Sequence[Mapping[str, Any]], dense: Mapping[str, Any], *, score: str, method: str | None = None
) -> list[tuple[float, float]]:
    chosen = [point for point in points if method is None or point["method"] == method]
    return [(point["macs"] / dense["macs"], point[score]) for point in chosen]
