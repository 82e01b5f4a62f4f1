"""The plots of the page. Each returns inline SVG, or None when there is nothing to draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from secateur.kinds.base import Kind
from secateur.report import formats
from secateur.report.direct_labels import Box, Label, place_headings, place_labels, segment
from secateur.report.results import HistoryRow, Interval, Json, ModelResult, runtimes
from secateur.report.svg import GRID, INK, MARKERS, MUTED, SERIES, SURFACE, Canvas, canvas


@dataclass(frozen=True)
class Point:
    """One model in a plot: its name, its place on the x axis, and its score."""

    title: str
    x: float
    quality: Interval


@dataclass(frozen=True)
class Trace:
    """One line of a plot: its name (perhaps empty), its look, and the models on it."""

    name: str
    colour: str
    marker: str
    points: Sequence[Point]


def quality_against_speed(results: Sequence[ModelResult], *, deployed: str | None) -> Markup | None:
    """The deciding score against measured milliseconds: one line per runtime, from dense to the last accepted round.

    The form that is deployed has a score of its own, the others have that of PyTorch.
    """
    shown = [result for result in results if result.accepted]
    traces: list[Trace] = []
    for index, runtime in enumerate(runtimes(shown)):
        points = [
            Point(result.title, result.timings[runtime].median_ms, result.quality_in(runtime, deployed=deployed))
            for result in shown
            if runtime in result.timings
        ]
        style = index % len(SERIES)
        traces.append(Trace(formats.runtime(runtime), SERIES[style], MARKERS[style], points))
    if len(shown) < 2 or not traces:
        return None
    places = [point.x for trace in traces for point in trace.points]
    title, call = shown[0].kind.measure.title, shown[0].kind.presentation().words.call
    with canvas(
        "speed",
        description=f"{formats.sentence(title)} on test against median milliseconds per {call}, one line per runtime",
        x_label=f"median time per {call}, ms (logarithmic)",
        y_label=f"{title} on test",
    ) as drawn:
        drawn.axes.set_xscale("log")  # equal speed-ups are equally far apart, on every runtime
        drawn.axes.set_xlim(min(places) / 1.3, 1.3 * max(places))
        drawn.axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
        drawn.axes.xaxis.set_minor_locator(NullLocator())
        drawn.axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        _draw_tradeoff(drawn, traces)
    return drawn.svg


def quality_against_parameters(results: Sequence[ModelResult]) -> Markup | None:
    """The deciding score against the parameters outside the embeddings."""
    shown = [result for result in results if result.accepted]
    if len(shown) < 2:
        return None
    largest = max(result.nonembedding_params for result in shown)
    unit = formats.unit_for([largest])
    points = [Point(result.title, float(result.nonembedding_params), result.quality) for result in shown]
    spelled = {"k": ", thousands", "M": ", millions", "G": ", billions"}.get(unit.symbol, "")
    title, body = shown[0].kind.measure.title, shown[0].kind.presentation().words.body
    with canvas(
        "size",
        description=f"{formats.sentence(title)} on test against the number of parameters outside the embeddings",
        x_label=f"{body} parameters{spelled}",
        y_label=f"{title} on test",
    ) as drawn:
        drawn.axes.set_xlim(0, 1.08 * largest)
        drawn.axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit.divisor:g}"))
        _draw_tradeoff(drawn, [Trace("", SERIES[0], MARKERS[0], points)])
    return drawn.svg


def _draw_tradeoff(drawn: Canvas, traces: Sequence[Trace]) -> None:
    """Draw lines, points, intervals and labels; the limits of the x axis must be final."""
    axes = drawn.axes
    every = [point.quality for trace in traces for point in trace.points]
    low, high = min(quality.low for quality in every), max(quality.high for quality in every)
    margin = max(0.12 * (high - low), 0.002)
    axes.set_ylim(low - margin, high + (2.0 if traces[0].name else 1.0) * margin)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.axhline(every[0].value, color=MUTED, linewidth=0.9, dashes=(3, 3), zorder=1)
    labels: list[Label] = []
    obstacles: list[Box] = []
    for trace in traces:
        _draw_trace(drawn, trace)
        for start, end in pairwise((point.x, point.quality.value) for point in trace.points):
            obstacles += segment(axes, start, end)
        for point in trace.points:
            obstacles += segment(axes, (point.x, point.quality.low), (point.x, point.quality.high))
            colour = trace.colour if trace.name else INK
            labels.append(Label(point.title, point.x, point.quality.value, colour))
    place_labels(axes, labels, obstacles)
    place_headings(axes, [
        Label(trace.name, max(point.x for point in trace.points), high, trace.colour) for trace in traces if trace.name
    ])  # fmt: skip


def _draw_trace(drawn: Canvas, trace: Trace) -> None:
    places = [point.x for point in trace.points]
    intervals = [point.quality for point in trace.points]
    values = [interval.value for interval in intervals]
    errors = [[item.value - item.low for item in intervals], [item.high - item.value for item in intervals]]
    drawn.axes.errorbar(
        places, values, yerr=errors, fmt="none", ecolor=trace.colour, elinewidth=1.1, capsize=3, alpha=0.5, zorder=2
    )
    drawn.axes.plot(
        places, values, color=trace.colour, marker=trace.marker, markeredgecolor=SURFACE, markeredgewidth=1.2, zorder=3
    )


def attacks(results: Sequence[ModelResult], *, best: ModelResult | None) -> Markup | None:
    """The deciding score under each attack: dense and the chosen round, one column per attack."""
    compared = [result for result in results if result.is_dense or result is best]
    shown = [(result, result.robustness) for result in compared if result.robustness and result.robustness.attacks]
    if not shown:
        return None
    names, title = list(shown[0][1].attacks), results[0].kind.measure.title
    with canvas(
        "attacks",
        description=(
            f"{formats.sentence(title)} on attacked test rows, one column per attack, dense and the chosen round"
        ),
        x_label="what was done to the texts",
        y_label=f"{title} on attacked rows",
    ) as drawn:
        for index, (result, robustness) in enumerate(shown):
            scores = [robustness.clean, *(robustness.attacks[name] for name in names)]
            places = [place + 0.16 * (index - (len(shown) - 1) / 2) for place in range(len(scores))]
            drawn.axes.plot(places, scores, color=SERIES[index], marker=MARKERS[index], linestyle="none",
                            markeredgecolor=SURFACE, markeredgewidth=1.0)  # fmt: skip
            # Headings stand above the points, at the right, where the strongest attack is.
            drawn.axes.annotate(result.title, (1.0, 1.0), xycoords="axes fraction", xytext=(0, -3 - 14 * index),
                                textcoords="offset points", ha="right", va="top", color=SERIES[index])  # fmt: skip
        drawn.axes.set_xticks(range(len(names) + 1), ["clean", *names], rotation=18)
        drawn.axes.set_xlim(-0.5, len(names) + 0.5)
        drawn.axes.margins(y=0.18)
        drawn.axes.yaxis.set_major_locator(MaxNLocator(5))
    return drawn.svg


def training_score(kind: Kind, histories: Mapping[str, Sequence[HistoryRow]]) -> Markup | None:
    """The deciding score on validation over all epochs of all stages, one after the other."""
    title, logarithmic = kind.measure.title, kind.presentation().scale.logarithmic
    return _training_curves(
        "validation", histories, {f"validation_{kind.measure.name}": ""},
        description=f"{formats.sentence(title)} on validation while dense and then each round were trained",
        y_label=f"{title} on validation{' (logarithmic)' if logarithmic else ''}", logarithmic=logarithmic,
    )  # fmt: skip


def training_loss(kind: Kind, histories: Mapping[str, Sequence[HistoryRow]]) -> Markup | None:
    """Training and validation loss over all epochs of all stages."""
    return _training_curves(
        "loss", histories, {"validation_loss": "validation", "train_loss": "training"},
        description="Loss while dense and then each round were trained",
        y_label=f"loss, {kind.presentation().words.loss}",
    )  # fmt: skip


def _training_curves(
    name: str,
    histories: Mapping[str, Sequence[HistoryRow]],
    columns: Mapping[str, str],
    *,
    description: str,
    y_label: str,
    logarithmic: bool = False,
) -> Markup | None:
    trained = {stage: rows for stage, rows in histories.items() if _series(rows, next(iter(columns)))}
    if not trained:
        return None
    with canvas(
        name, description=description, x_label="epochs of training, all stages in a row", y_label=y_label
    ) as drawn:
        offset = 0.0
        for number, (stage, rows) in enumerate(trained.items()):
            for index, column in enumerate(columns):
                series = _series(rows, column)
                drawn.axes.plot(
                    [offset + epoch for epoch, _ in series], [value for _, value in series],
                    color=SERIES[index], marker=MARKERS[index], markersize=4.5,
                    markeredgecolor=SURFACE, markeredgewidth=1.0,
                )  # fmt: skip
            length = max(epoch for column in columns for epoch, _ in _series(rows, column))
            if number:
                drawn.axes.axvline(offset, color=GRID, linewidth=1.0, zorder=1)
            title = "dense" if stage == "baseline" else stage
            drawn.axes.annotate(title, (offset + length / 2, 1.0), xycoords=("data", "axes fraction"), xytext=(0, -3),
                                textcoords="offset points", ha="center", va="top", color=MUTED)  # fmt: skip
            offset += length
        drawn.axes.set_xlim(0, offset * 1.02 or 1.0)
        drawn.axes.margins(y=0.18)
        drawn.axes.yaxis.set_major_locator(MaxNLocator(5))
        if logarithmic:
            drawn.axes.set_yscale("log")
            drawn.axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            drawn.axes.yaxis.set_minor_locator(NullLocator())
            drawn.axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        drawn.axes.xaxis.set_major_locator(MaxNLocator(8, integer=offset >= 2))
        _label_curves(drawn, trained, columns)
    return drawn.svg


def _label_curves(drawn: Canvas, trained: Mapping[str, Sequence[HistoryRow]], columns: Mapping[str, str]) -> None:
    """Name each curve in the middle of the first stage; a single curve is named by the axis."""
    rows = next(iter(trained.values()))
    labels, obstacles = [], []
    for index, (column, text) in enumerate(columns.items()):
        series = _series(rows, column)
        for start, end in pairwise(series):
            obstacles += segment(drawn.axes, start, end)
        if text and series:
            labels.append(Label(text, *series[len(series) // 2], colour=SERIES[index]))
    place_labels(drawn.axes, labels, obstacles)


def _series(rows: Sequence[HistoryRow], column: str) -> list[tuple[float, float]]:
    pairs = ((row.get("epoch"), row.get(column)) for row in rows)
    return [(epoch, value) for epoch, value in pairs if epoch is not None and value is not None]


def lengths(histogram: Json) -> Markup | None:
    """How long the cleaned texts are: one bar per bin of the data report."""
    edges, counts = list(histogram.get("edges", ())), list(histogram.get("counts", ()))
    if not counts or len(edges) != len(counts) + 1:
        return None
    with canvas(
        "lengths",
        description="Number of cleaned rows by length of text in characters",
        x_label="characters per text",
        y_label="rows",
    ) as drawn:
        drawn.axes.bar(range(len(counts)), counts, width=0.86, align="edge", color=SERIES[0], alpha=0.8)
        # Bins are drawn equally wide, whatever they span; each edge is named where it lies.
        step = -(-len(edges) // 11)
        places = range(0, len(edges), step)
        drawn.axes.set_xticks([place - 0.07 for place in places], [f"{edges[place]:g}" for place in places])
        drawn.axes.set_xlim(-0.2, len(counts) + 0.1)
        drawn.axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        drawn.axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: formats.count(value)))
    return drawn.svg
