"""``reports/live.json``: what a server knows of its traffic, for the page, the gate and whoever retrains.

Counts alone, of at most a hundred bins a measure: whatever was asked, no text is in it.
"""

import logging
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from secateur.report.live import MEASURES
from secateur.workflow.project import Project

LIVE = "reports/live.json"

_MAX_BYTES = 4_000_000
_log = logging.getLogger(__name__)

Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Measured(_Part):
    """How texts are spread over the bins of one measure: of the training rows, and of a window."""

    name: str
    bins: tuple[str, ...]
    reference: tuple[Count, ...] | None
    current: tuple[Count, ...]


class Window(_Part):
    """A window that has ended: its texts, the stability index of each measure and the limit of each."""

    ended: str
    texts: Count
    psi: dict[str, float]
    limits: dict[str, float]

    @property
    def drifted(self) -> tuple[str, ...]:
        """The measures whose index is beyond its limit."""
        return tuple(name for name, psi in self.psi.items() if psi > self.limits[name])


class Unfinished(_Part):
    """The window that is open: measure -> counts."""

    texts: Count = 0
    counts: dict[str, tuple[Count, ...]] = {}


class Judged(_Part):
    """What feedback says of one version, with a 95 % interval.

    Attributes:
        version: that gave the answers.
        texts: that somebody has said something of.
        right: answers that were; None where numbers are told.
        errors: of numbers, the sum of the distances.
        squares: likewise of their squares.
        value: the share that was right (Wilson's interval), or the mean distance (normal).
        low: end of the interval.
        high: end of the interval.
    """

    version: str | None
    texts: Annotated[int, Field(ge=1)]
    right: Count | None = None
    errors: float = 0.0
    squares: float = 0.0
    value: float
    low: float
    high: float


class Shadowed(_Part):
    """How often another version says something else than the one that answers.

    Attributes:
        name: registered model of the challenger; it may be another one than the champion's.
        champion: version that answers.
        challenger: version of ``name`` that was asked the same.
        texts: that both were asked.
        disagreed: that they answered differently; numbers by more than a quarter of their standard deviation.
        dropped: that there was no time for.
        problem: why nothing is compared now; None where it is.
        value: share of the texts that they answered differently; None where there are none.
        low: end of Wilson's 95 % interval.
        high: end of it.
    """

    name: str
    champion: str | None
    challenger: str | None
    texts: Count = 0
    disagreed: Count = 0
    dropped: Count = 0
    problem: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None


class Live(_Part):
    """What ``serve --live`` writes.

    Attributes:
        model: that answers.
        version: of it; None for a folder.
        digest: of its files, by which a server that starts again knows it.
        since: when this version began to be watched, UTC.
        written: when this file was.
        texts: that were answered since.
        window: texts of a window.
        reference_rows: training rows that the traffic is compared with; None where there are none.
        missing: why not.
        measures: of the last window that has ended, or of the open one where none has.
        windows: those that have ended, the newest last.
        unfinished: the open one.
        feedback: per version, the newest last.
        shadow: another version beside it, where one was asked for.
    """

    model: str
    version: str | None
    digest: str
    since: str
    written: str
    texts: Count
    window: Count
    reference_rows: Count | None
    missing: str | None
    measures: tuple[Measured, ...] = ()
    windows: tuple[Window, ...] = ()
    unfinished: Unfinished = Unfinished()
    feedback: tuple[Judged, ...] = ()
    shadow: Shadowed | None = None

    @property
    def drift(self) -> str | None:
        """Say how the last window that has ended differs from the training rows; None where it does not."""
        last = self.windows[-1] if self.windows else None
        if last is None or not last.drifted:
            return None
        said = ", ".join(f"{MEASURES.get(name, name)} (PSI {last.psi[name]:.2f})" for name in last.drifted)
        answered = f"{self.model} version {self.version}" if self.version else self.model
        return f"{last.texts} texts that {answered} was asked about are not like its training rows: {said}"


def read_live(project: Project) -> Live | None:
    """Read that of a project; None where no server has written one, or something that is not ours lies there."""
    return live_in(project.root / LIVE)


def live_in(path: Path) -> Live | None:
    """Read a file; None where there is none, or something that is not ours."""
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"it is larger than {_MAX_BYTES} bytes")
        return Live.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = f"{error.error_count()} fields are not as expected" if isinstance(error, ValidationError) else error
        _log.warning("%s counts for nothing: %s", LIVE, reason)
        return None
