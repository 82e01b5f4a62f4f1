"""Progress with the time left, on stderr: a bar for who watches, a line a minute for a log."""

import sys
import time
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

PATIENCE_S = 1.0
"""How long nothing is shown of what is mostly over by then."""


class Advance(Protocol):
    """Moves the bar and shows a note beside it."""

    def __call__(self, note: str = "", *, steps: float = 1) -> None:
        """Advance; an empty note leaves the one that is shown."""
        ...


class _Lines:
    """Progress in a log: nothing in the first minute, then a line a minute, whenever a step ends."""

    _SECONDS = 60.0

    def __init__(self, title: str, *, total: float) -> None:
        self._title, self._total, self._done = title, total, 0.0
        self._began = self._told = time.monotonic()

    def __call__(self, note: str = "", *, steps: float = 1) -> None:
        self._done += steps
        now = time.monotonic()
        if now - self._told < self._SECONDS or not 0 < self._done < self._total:
            return
        self._told = now
        left = (now - self._began) / self._done * (self._total - self._done)
        about = f" ({note})" if note else ""
        line = f"{self._title}: {self._done:g} of {self._total:g}, about {_rounded(left)} left{about}"
        print(line, file=sys.stderr, flush=True)  # noqa: T201  where a bar would be


def begun(line: str) -> None:
    """Say on stderr what begins, whoever watches: a bar vanishes, and a log hears nothing of its first minute."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201  as the lines of a log


def _rounded(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


class _Bar:
    """A bar on a terminal, drawn from some moment on."""

    def __init__(self, title: str, *, total: float, note: str, live: bool, after_s: float) -> None:
        self._live, self._begins, self._is_drawn = live, time.monotonic() + after_s, False
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(file=sys.stderr),  # as it is now: a stage may drop what libraries say
            transient=True,
            auto_refresh=live,
        )
        self._task = self._bar.add_task(title, total=total, note=note)

    def draw(self) -> None:
        """Draw the bar when it is time, and where no other one is drawn."""
        if not self._is_drawn and not _drawn and time.monotonic() >= self._begins:
            self._is_drawn = True
            _drawn.append(self)
            self._bar.start()
        if self._is_drawn and not self._live:
            self._bar.refresh()

    def __call__(self, note: str = "", *, steps: float = 1) -> None:
        if note:
            self._bar.update(self._task, note=note)
        self._bar.update(self._task, advance=steps)
        self.draw()

    def end(self) -> None:
        if self._is_drawn:
            self._bar.stop()
            _drawn.remove(self)


_drawn: list[object] = []
"""What is on the terminal: one bar at a time, since a step of it may be a pass that would show one of its own."""


@contextmanager
def progress(title: str, *, total: float, note: str = "", live: bool = True, after_s: float = 0.0) -> Iterator[Advance]:
    """Show a bar of ``total`` steps when stderr is a terminal, and a line a minute otherwise; none within another one.

    Args:
        title: what is going on.
        total: number of steps.
        note: what the first step is about.
        live: False draws only when a step ends, by the thread that takes them: nothing runs beside what is timed.
        after_s: seconds before anything is drawn; ``PATIENCE_S`` for what is mostly over by then.
    """
    if not sys.stderr.isatty():
        yield _Lines(title, total=total)
        return
    bar = _Bar(title, total=total, note=note, live=live, after_s=after_s)
    try:
        bar.draw()
        yield bar
    finally:
        bar.end()


@contextmanager
def waiting(title: str) -> Iterator[None]:
    """Show that something goes on which cannot say how far it is, and for how long it has; nothing within a bar."""
    line = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(file=sys.stderr),  # as it is now: a stage may drop what libraries say
        transient=True,
        disable=not sys.stderr.isatty() or bool(_drawn),
    )
    _drawn.append(line)
    try:
        with line:
            line.add_task(title, total=None)
            yield
    finally:
        _drawn.remove(line)
