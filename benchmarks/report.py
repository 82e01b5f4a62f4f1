"""Tables on the screen, and results as JSON with the machine and the versions they were taken with."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

import secateur
from secateur.files import write_json
from secateur.inference.machine import describe_machine

RESULTS = Path("docs") / "results"
_PACKAGES = ("transformers", "tokenizers", "numpy", "scikit-learn", "onnx", "torch-pruning")


def environment() -> dict[str, str | int]:
    """Return the machine, and the versions of everything a figure depends on."""
    found: dict[str, str | int] = {**describe_machine(), "python": platform.python_version()}
    found["secateur"] = secateur.__version__
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def show(
    title: str,
    *,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
    machine: Mapping[str, Any],
) -> None:
    """Print a table, what to know when reading it, and where it was taken."""
    console = Console()
    # Piped output is read by people as well: never cut a column off.
    console = console if console.is_terminal else Console(width=160)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for note in notes:
        console.print(f"* {note}", highlight=False)
    console.print("* " + ", ".join(f"{name} {value}" for name, value in machine.items()), highlight=False)


def write_results(name: str, value: Mapping[str, Any], *, out: Path | None) -> None:
    """Write the result as JSON; ``out`` replaces ``docs/results/<name>.json``."""
    path = out or RESULTS / f"{name}.json"
    write_json(path, dict(value))
    Console().print(f"written to {path}", highlight=False)


def points(value: float) -> str:
    """Format a difference of scores in [0, 1] as points."""
    return f"{100 * value:+.2f}"
