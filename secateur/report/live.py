"""What a server knows of its traffic, as tables: measures against the training rows, feedback, another version."""

from collections.abc import Sequence
from dataclasses import dataclass

from secateur.report import formats
from secateur.report.results import Json

MEASURES = {
    "labels": "label shares",
    "numbers": "numbers",
    "confidence": "confidence",
    "lengths": "length",
    "scripts": "scripts",
    "tokens": "tokens that the training rows did not have",
}
"""Name of a measure -> what it is called."""


@dataclass(frozen=True)
class Measure:
    """One measure of the last window: its index and limit, and the bin that moved most.

    ``psi`` and ``limit`` are None where too few texts say anything, ``moved`` where there is nothing to compare with.
    """

    name: str
    psi: float | None
    limit: float | None
    drifted: bool
    moved: str | None


@dataclass(frozen=True)
class Feedback:
    """What was right of the answers of a version."""

    version: str
    texts: int
    said: str


def measures(live: Json | None) -> tuple[Measure, ...]:
    """Return the measures of the last window, or of the open one where none has ended."""
    last: Json = ((live or {}).get("windows") or [{}])[-1]
    psi, limits = last.get("psi", {}), last.get("limits", {})
    return tuple(
        Measure(
            name=MEASURES.get(entry["name"], entry["name"]),
            psi=psi.get(entry["name"]),
            limit=limits.get(entry["name"]),
            drifted=is_drifted(last, entry["name"]),
            moved=_moved(entry),
        )
        for entry in (live or {}).get("measures", ())
    )


def is_drifted(window: Json, name: str) -> bool:
    """Tell whether a measure of a window is beyond its limit."""
    psi = window.get("psi", {}).get(name)
    return psi is not None and bool(psi > window["limits"][name])


def drifted_windows(live: Json | None) -> int:
    """Count the windows with a measure beyond its limit."""
    windows: Sequence[Json] = (live or {}).get("windows") or ()
    return sum(any(is_drifted(window, name) for name in window["psi"]) for window in windows)


def drift(live: Json) -> str:
    """Say what drifted in the last window; empty where nothing did."""
    return ", ".join(f"{row.name} (PSI {row.psi:.2f})" for row in measures(live) if row.drifted and row.psi is not None)


def feedback(live: Json | None) -> tuple[Feedback, ...]:
    """Return what feedback says per version, the newest first."""
    return tuple(
        Feedback(version=str(entry["version"] or "–"), texts=entry["texts"], said=_said(entry))
        for entry in reversed((live or {}).get("feedback") or ())
    )


def _said(entry: Json) -> str:
    ends = entry["low"], entry["high"]
    if entry["right"] is None:
        return f"mean error {entry['value']:.3g} ({ends[0]:.3g} to {ends[1]:.3g})"
    low, high = (formats.percent(end, 1) for end in ends)
    return f"{formats.percent(entry['value'], 1)} right ({low} to {high})"


def _moved(entry: Json) -> str | None:
    reference, current = entry["reference"], entry["current"]
    if not reference or not sum(reference) or not sum(current):
        return None
    shares = [
        (name, before / sum(reference), now / sum(current))
        for name, before, now in zip(entry["bins"], reference, current, strict=True)
    ]
    name, before, now = max(shares, key=lambda share: abs(share[2] - share[1]))
    return f"{name}: {formats.percent(before, 1)} → {formats.percent(now, 1)}"
