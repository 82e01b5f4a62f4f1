"""Progress with the time left, on stderr; silent when nobody watches."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Advance(Protocol):
    """Moves the bar by one step and shows a note beside it."""

    def __call__(self, note: str = "") -> None:
        """Advance; an empty note leaves the one that is shown."""
        ...


@contextmanager
def progress(title: str, *, total: int) -> Iterator[Advance]:
    """Show a bar of ``total`` steps when stderr is a terminal, nothing otherwise."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(title, total=total, note="")

        def advance(note: str = "") -> None:
            if note:
                bar.update(task, note=note)
            bar.advance(task)

        yield advance
