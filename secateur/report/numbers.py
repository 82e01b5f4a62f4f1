"""How models that tell numbers are shown: R² in points, predicted against true numbers, slices, and what is far off."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from markupsafe import Markup

from secateur.report import columns, formats
from secateur.report.presentation import Column, Compared, Evaluated, Json, Presentation, Score, Section, Simple, Words
from secateur.report.results import ModelResult
from secateur.report.scales import POINTS
from secateur.report.svg import MUTED, SERIES, SURFACE, canvas
from secateur.report.tables import accepted

_FEW_ROWS = 50


def columns_for(deciding: tuple[str, str], *others: tuple[str, str]) -> Callable[[Sequence[Json]], list[Column]]:
    """Return the columns of the wide table: the deciding score (name, title), then others."""

    def made(rows: Sequence[Json]) -> list[Column]:
        return [
            *columns.score_columns(*deciding, POINTS),
            *(Column(title, columns.of(name, "{:.4g}")) for name, title in others),
            Column("deployed", columns.of(f"deployed_{deciding[0]}", "{:.4f}")),
            columns.size_column(),
            *columns.timed_columns(rows),
        ]

    return made


def sections(shown: Evaluated) -> Iterator[Section]:
    """Yield the sections of the page."""
    best, results = shown.best, accepted(shown.results)
    model = best or results[0]
    points = model.details.get("points", ())
    drawn = {"plot": _scatter(points, title=model.title), "model": model.title, "rows": len(points)}
    yield Section("numbers", "Numbers", "{% include 'numbers.html.j2' %}", drawn)
    if rows := _slices(results, shown.details):
        yield Section("slices", "Slices", "{% include 'number_slices.html.j2' %}", {"slices": rows, "shown": results})
    yield Section("mistakes", "Largest errors", "{% include 'number_errors.html.j2' %}", {"shown": results})


def _scatter(points: Sequence[Sequence[float]], *, title: str) -> Markup | None:
    if not points:
        return None
    true, said = zip(*points, strict=True)
    low, high = min(*true, *said), max(*true, *said)
    margin = 0.04 * (high - low) or 1.0
    with canvas(
        "numbers",
        description=f"Numbers that {title} predicts against the true ones, a point per test row",
        x_label="true number",
        y_label=f"number that {title} predicts; on the line it is right",
    ) as drawn:
        drawn.axes.set_xlim(low - margin, high + margin)
        drawn.axes.set_ylim(low - margin, high + margin)
        drawn.axes.plot([low, high], [low, high], color=MUTED, linewidth=0.9, dashes=(3, 3), zorder=1)
        drawn.axes.plot(
            true, said, "o", color=SERIES[0], alpha=0.5, markersize=4, markeredgecolor=SURFACE, markeredgewidth=0.4
        )
    return drawn.svg


def _slices(results: Sequence[ModelResult], details: Json) -> list[dict[str, Any]]:
    """Return the slices that hold any row, in the order of ``details["slices"]``."""
    found = []
    for name, words in details.get("slices", {}).items():
        entries = [result.details.get("slices", {}).get(name) for result in results]
        if entries and entries[0] is not None:
            rows = entries[0]["rows"]
            found.append({"name": name, "words": words, "rows": rows, "few": rows < _FEW_ROWS, "entries": entries})
    return found


def compared_by(title: str) -> Callable[[Json, Sequence[str]], Compared]:
    """Return what says what became of the score of this title, and shows the rows whose numbers differ most."""
    return lambda found, names: _compared(found, names, title)


def _compared(found: Json, names: Sequence[str], title: str) -> Compared:
    change = found["change"]
    said = (
        f"{found['changed']} of {found['test_rows']} answers differ by more than a tenth of the numbers' standard "
        f"deviation; {title} of {names[1]} is {change['value']:+.4f} ({change['low']:+.4f} to {change['high']:+.4f}) "
        f"against {names[0]}"
    )
    rows = tuple((row["label"], row["a"], row["b"], row["text"]) for row in found["examples"])
    return Compared(said, (">true", *(f">{name}" for name in names), "text"), rows)


def _simple_said(found: Json) -> str:
    return f"{found['name']}: R² {found['r2']:.4f}, mean absolute error {found['mae']:.4g} on the same rows"


def _simple_remark(found: Json) -> tuple[str, str]:
    ends = f"{formats.score(found['r2_low'])}–{formats.score(found['r2_high'])}"
    return "What needs no model:", (
        f"{found['name']} reaches R² {formats.score(found['r2'])} ({ends}) and a mean absolute error of "
        f"{found['mae']:.4g} on the same rows; the mean of all numbers has R² 0."
    )


WORDS = Words(
    loss="squares per row, in units of the training rows",
    lead=(
        "Scores on {rows} test rows that no earlier stage has read; small print holds {interval} intervals. R² is the "
        "share of the numbers’ variance that a model explains; errors are in the units of the numbers."
    ),
)


PRESENTATION = Presentation(
    scale=POINTS,
    scores=(
        Score("r2", "R²", formats.score),
        Score("spearman", "Spearman", formats.score, note="rank correlation"),
        Score("rmse", "RMSE", formats.three_digits, note="lower is better"),
        Score("mae", "MAE", formats.three_digits, note="lower is better"),
    ),
    columns=columns_for(("r2", "R²"), ("spearman", "Spearman"), ("rmse", "RMSE"), ("mae", "MAE")),
    sections=lambda shown: tuple(sections(shown)),
    compared=compared_by("R²"),
    words=WORDS,
    symbol="R²",
    simple=Simple(_simple_said, _simple_remark),
)
