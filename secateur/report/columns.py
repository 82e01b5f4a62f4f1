"""Columns of the terminal's wide table that several kinds of task have."""

from collections.abc import Callable, Sequence

from secateur.report.presentation import Column, Json
from secateur.report.scale import Scale


def number(value: float | None, form: str) -> str:
    """Write a number, or nothing where there is none."""
    return "" if value is None else form.format(value)


def of(name: str, form: str) -> Callable[[Json], str]:
    """Return what writes one number of a row."""
    return lambda row: number(row.get(name), form)


def interval(row: Json, name: str, scale: Scale) -> str:
    """Write the interval of a score; nothing where the row has none."""
    if f"{name}_low" not in row:
        return ""
    return f"{scale.write_end(row[f'{name}_low'])} to {scale.write_end(row[f'{name}_high'])}"


def score_columns(name: str, title: str, scale: Scale) -> list[Column]:
    """Return a score and its interval."""
    return [
        Column(title, lambda row: scale.write_for_terminal(row[name])),
        Column("95 % interval", lambda row: interval(row, name, scale)),
    ]


def size_column() -> Column:
    """Return the size of what is deployed."""
    return Column("size", lambda row: f"{row['deployed_bytes'] / 1e6:.1f} MB" if "deployed_bytes" in row else "")


def timed_columns(rows: Sequence[Json]) -> list[Column]:
    """Return time and speed-up on every runtime; the speed-up is measured, never derived from sparsity."""
    runtimes = sorted({name.removesuffix("_ms") for row in rows for name in row if name.endswith("_ms")})
    return [
        column
        for runtime in runtimes
        for column in (
            Column(f"{runtime} ms", of(f"{runtime}_ms", "{:.2f}")),
            Column(f"{runtime} speed-up", of(f"{runtime}_speedup", "{:.2f}x")),
        )
    ]
