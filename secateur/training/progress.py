"""Progress with the time left, on stderr; silent when nobody watches."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Advance(Protocol):
    """Moves the bar and shows a note beside it."""

    def __call__(self, note: str = "", *, steps: float = 1) -> None:
        """Advance; an empty note leaves the one that is shown."""
        ...


@contextmanager
def progress(title: str, *, total: float, note: str = "", live: bool = True) -> Iterator[Advance]:
    """Show a bar of ``total`` steps when stderr is a terminal, nothing otherwise.

    Args:
        title: what is going on.
        total: number of steps.
        note: what the first step is about.
        live: False draws only when a step ends, by the thread that takes them: nothing runs beside what is timed.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(file=sys.stderr),  # as it is now: a stage may drop what libraries say
        transient=True,
        auto_refresh=live,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(title, total=total, note=note)
        if not live:
            bar.refresh()

        def advance(note: str = "", *, steps: float = 1) -> None:
            if note:
                bar.update(task, note=note)
            bar.update(task, advance=steps, refresh=not live)

        yield advance


@contextmanager
def waiting(title: str) -> Iterator[None]:
    """Show that something goes on which cannot say how far it is, and for how long it has."""
    line = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(file=sys.stderr),  # as it is now: a stage may drop what libraries say
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with line:
        line.add_task(title, total=None)
        yield
