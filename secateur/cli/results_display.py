"""The tables of results, narrow and wide."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from secateur.cli.display import table
from secateur.report import columns

if TYPE_CHECKING:
    from secateur.kinds.base import Kind

_FORM = {"torch": "PyTorch", "onnx": "ONNX", "onnx-int8": "ONNX int8"}
_DENSE = "baseline"


def results_table(rows: Sequence[Mapping[str, Any]], *, kind: "Kind", details: Mapping[str, Any]) -> Table:
    """Return what decides, in 80 columns: the deployed form's score and time, its size, and what became of the round.

    The row of a rolled-back round is about what it tried.
    """
    shown, name = kind.presentation(), kind.measure.name
    deployed = str(details.get("deployed") or "torch")
    name = f"deployed_{name}" if f"deployed_{name}" in rows[0] else name
    tested = f"{details['test_rows']:,}".replace(",", " ") + " " if "test_rows" in details else ""
    made = table(
        f"Deployed in {_FORM.get(deployed, deployed)}, on {tested}test {shown.words.rows}",
        "model", f">{kind.measure.title}", f">{_level(details)}", f">{shown.words.time}", ">speed-up", ">size",
        "verdict",
    )  # fmt: skip
    slowest = time_of(rows[0], "torch") or time_of(rows[0], deployed)
    for row in rows:
        if "params" not in row:
            made.add_row(called(row), *[""] * 5, "[red]not run[/]")
            continue
        ms = time_of(row, deployed)
        made.add_row(
            called(row),
            "" if row.get(name) is None else shown.scale.write_for_terminal(row[name]),
            columns.interval(row, name, shown.scale),
            columns.number(ms, "{:.2f} ms"),
            "" if ms is None or slowest is None else f"{slowest / ms:.1f}x",
            columns.size_column().cell(row),
            _verdict(row),
        )
    return made


def called(row: Mapping[str, Any]) -> str:
    """Return the name of a model; that of a round with what it promises to lose at most, in hundredths."""
    return f"{row['model']} ≤{100 * row['budget_asked']:g}" if row.get("budget") == "max_drop" else str(row["model"])


def time_of(row: Mapping[str, Any], runtime: str) -> float | None:
    """Return the measured time of a row in milliseconds; None where nobody measured it."""
    found: float | None = row.get(f"{runtime}_ms")
    return found


def _level(details: Mapping[str, Any]) -> str:
    level = details.get("confidence_level")
    return "interval" if level is None else f"{100 * level:g} % interval"


def _verdict(row: Mapping[str, Any]) -> str:
    if row["model"] == _DENSE:
        return "dense"
    return "[green]accepted[/]" if row.get("accepted", True) else "[red]rolled back[/]"


def wide_table(rows: Sequence[Mapping[str, Any]], *, kind: "Kind") -> Table:
    """Return all that was measured, in the columns of the kind of task."""
    shown = kind.presentation()
    own, lower = shown.columns(rows), f"; lower {kind.measure.title} is better"
    test = "test set" if kind.measure.higher_is_better else f"test {shown.words.rows}{lower}"
    made = table(
        f"Dense against rounds ({test})", "model", ">params", ">MACs", *(f">{column.title}" for column in own), ""
    )
    for row in rows:
        if "params" not in row:
            made.add_row(row["model"], *[""] * (2 + len(own)), "[red]not run[/]")
            continue
        costs = f"{row['params'] / 1e6:.2f} M", f"{row['macs'] / 1e6:.1f} M"
        made.add_row(row["model"], *costs, *(column.cell(row) for column in own), _verdict(row))
    return made
