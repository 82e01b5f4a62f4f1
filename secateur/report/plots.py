"""The plots of the page. Each returns inline SVG, or None when there is nothing to draw."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup
from matplotlib.ticker import FuncFormatter, MaxNLocator

from secateur.report import formats
from secateur.report.labels import Box, Label, place_labels, segment
from secateur.report.results import HistoryRow, Json, ModelResult, runtimes
from secateur.report.svg import GRID, INK, MARKERS, MUTED, SERIES, SURFACE, Canvas, canvas

Trace = tuple[str, str, str, list[tuple[float, ModelResult]]]
"""Name, colour, marker, and the place on the x axis of each model."""


def quality_against_speed(results: Sequence[ModelResult]) -> Markup | None:
    """Macro-F1 against measured milliseconds: one line per runtime, from dense to the last accepted round."""
    shown = [result for result in results if result.accepted]
    traces: list[Trace] = []
    for index, runtime in enumerate(runtimes(shown)):
        models = [(result.timings[runtime].median_ms, result) for result in shown if runtime in result.timings]
        style = index % len(SERIES)
        traces.append((formats.runtime(runtime), SERIES[style], MARKERS[style], models))
    if not traces:
        return None
    largest = max(x for *_, models in traces for x, _ in models)
    unit = formats.unit_for_ms([largest])
    with canvas(
        "speed",
        description="Macro-F1 on test against median milliseconds per call, one line per runtime",
        x_label="median time per call, ms",
        y_label="macro-F1 on test",
    ) as drawn:
        _draw_tradeoff(drawn, traces, largest=largest, unit=unit)
    return drawn.svg


def quality_against_parameters(results: Sequence[ModelResult]) -> Markup:
    """Macro-F1 against the parameters outside the embeddings."""
    shown = [result for result in results if result.accepted]
    largest = max(result.nonembedding_params for result in shown)
    unit = formats.unit_for([largest])
    models = [(float(result.nonembedding_params), result) for result in shown]
    with canvas(
        "size",
        description="Macro-F1 on test against the number of parameters outside the embeddings",
        x_label=f"parameters outside the embeddings, {_spelled(unit.symbol)}".rstrip(", "),
        y_label="macro-F1 on test",
    ) as drawn:
        _draw_tradeoff(drawn, [("", SERIES[0], MARKERS[0], models)], largest=float(largest), unit=unit)
    return drawn.svg


def _draw_tradeoff(drawn: Canvas, traces: Sequence[Trace], *, largest: float, unit: formats.Unit) -> None:
    axes = drawn.axes
    every = [result for *_, models in traces for _, result in models]
    low = min(result.macro_f1.low for result in every)
    high = max(result.macro_f1.high for result in every)
    margin = max(0.12 * (high - low), 0.002)
    axes.set_xlim(0, 1.08 * largest)
    axes.set_ylim(low - margin, high + 1.4 * margin)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit.divisor:g}"))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    labels: list[Label] = []
    obstacles: list[Box] = []
    for name, colour, marker, models in traces:
        places = [x for x, _ in models]
        scores = [result.macro_f1 for _, result in models]
        below = [score.value - score.low for score in scores]
        above = [score.high - score.value for score in scores]
        axes.plot(places, [score.value for score in scores], color=colour, marker=marker,
                  markeredgecolor=SURFACE, markeredgewidth=1.2, zorder=3)  # fmt: skip
        axes.errorbar(places, [score.value for score in scores], yerr=[below, above], fmt="none",
                      ecolor=colour, elinewidth=1.1, capsize=3, alpha=0.55, zorder=2)  # fmt: skip
        points = [(x, score.value) for x, score in zip(places, scores, strict=True)]
        for start, end in zip(points, points[1:], strict=False):
            obstacles += segment(axes, start, end)
        for x, result in models:
            interval = result.macro_f1
            obstacles += segment(axes, (x, interval.low), (x, interval.high))
            text = f"{result.title}, {name}" if name and result.is_dense else result.title
            labels.append(Label(text, x, interval.value, INK if not name else colour, bold=result.is_dense))
    place_labels(axes, labels, obstacles)


def training_score(histories: Mapping[str, Sequence[HistoryRow]]) -> Markup | None:
    """Validation macro-F1 over all epochs of all stages, one after the other."""
    return _training_curves(
        "validation", histories, {"validation_macro_f1": ""},
        description="Macro-F1 on validation while dense and then each round were trained",
        y_label="macro-F1 on validation",
    )  # fmt: skip


def training_loss(histories: Mapping[str, Sequence[HistoryRow]]) -> Markup | None:
    """Training and validation loss over all epochs of all stages."""
    return _training_curves(
        "loss", histories, {"validation_loss": "validation", "train_loss": "training"},
        description="Loss while dense and then each round were trained",
        y_label="loss, nats per row",
    )  # fmt: skip


def _training_curves(
    name: str,
    histories: Mapping[str, Sequence[HistoryRow]],
    columns: Mapping[str, str],
    *,
    description: str,
    y_label: str,
) -> Markup | None:
    trained = {stage: rows for stage, rows in histories.items() if _series(rows, tuple(columns)[0])}
    if not trained:
        return None
    with canvas(name, description=description, x_label="epochs of training, all stages in a row", y_label=y_label) as drawn:
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
        drawn.axes.xaxis.set_major_locator(MaxNLocator(8, integer=offset >= 2))
        _label_curves(drawn, trained, columns)
    return drawn.svg


def _label_curves(drawn: Canvas, trained: Mapping[str, Sequence[HistoryRow]], columns: Mapping[str, str]) -> None:
    """Name each curve at its first point; a single curve is named by the axis."""
    rows = next(iter(trained.values()))
    labels, obstacles = [], []
    for index, (column, text) in enumerate(columns.items()):
        series = _series(rows, column)
        for start, end in zip(series, series[1:], strict=False):
            obstacles += segment(drawn.axes, start, end)
        if text and series:
            labels.append(Label(text, *series[0], colour=SERIES[index]))
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
        drawn.axes.bar(range(len(counts)), counts, width=0.86, align="edge", color=SERIES[0])
        # Bins are drawn equally wide, whatever they span; each edge is named where it lies.
        step = -(-len(edges) // 11)
        places = range(0, len(edges), step)
        drawn.axes.set_xticks([place - 0.07 for place in places], [f"{edges[place]:g}" for place in places])
        drawn.axes.set_xlim(-0.2, len(counts) + 0.1)
        drawn.axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        drawn.axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: formats.count(value)))
    return drawn.svg


def _spelled(symbol: str) -> str:
    return {"k": "thousands", "M": "millions", "G": "billions"}.get(symbol, symbol)
