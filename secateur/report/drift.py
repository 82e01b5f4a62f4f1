"""The drift of the data, as tables: the measures on all rows and on the new ones, the shares of the labels."""

from dataclasses import dataclass
from typing import Any

from secateur.report import formats
from secateur.report.results import Json

_SIDES = ("current", "added")
_NAMES = {
    "labels": "label shares",
    "numbers": "numbers",
    "lengths": "length",
    "vocabulary": "vocabulary",
    "embeddings": "embeddings",
}


@dataclass(frozen=True)
class Measure:
    """One number about a difference: where it was taken, what it is, and whether it counts as drift."""

    side: str
    name: str
    value: str
    drifted: bool


@dataclass(frozen=True)
class Share:
    """One label: its share of the champion's rows, of today's, and of those that were added."""

    label: str
    before: float
    now: float
    added: float | None


def measures(drift: Json | None) -> tuple[Measure, ...]:
    """Return the measures, those of all rows first."""
    found: list[Measure] = []
    for side in _SIDES:
        parts: dict[str, Any] = (drift or {}).get(side) or {}
        name = "all rows" if side == "current" else "new rows"
        for part, entry in parts.items():
            if entry and "drifted" in entry:
                found.append(Measure(name, _NAMES.get(part, part), _words(part, entry), bool(entry["drifted"])))
    return tuple(found)


def shares(drift: Json | None) -> tuple[Share, ...]:
    """Return the shares of the labels, the most frequent of the champion's rows first."""
    sides: list[dict[str, Any]] = [
        (((drift or {}).get(side) or {}).get("labels") or {}).get("shares", {}) for side in _SIDES
    ]
    rows = [
        Share(
            label=label,
            before=float(entry["reference"]),
            now=float(entry["current"]),
            added=float(sides[1].get(label, {"current": 0.0})["current"]) if sides[1] else None,
        )
        for label, entry in sides[0].items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.before, row.label)))


def _words(part: str, entry: Json) -> str:
    if part == "labels":
        return f"PSI {entry['psi']:.3f}"
    if part == "numbers":
        before, now = entry["median"]["reference"], entry["median"]["current"]
        return f"median {before:g} → {now:g}, KS {entry['ks']:.3f}"
    if part == "lengths":
        before, now = entry["median"]["reference"], entry["median"]["current"]
        return f"median {before:g} → {now:g} characters, KS {entry['ks']:.3f}"
    if part == "vocabulary":
        shown = ", ".join(entry.get("new_tokens", ())[:5])
        return f"{formats.percent(entry['new_token_share'], 1)} never seen" + (f" ({shown})" if shown else "")
    if part == "embeddings":
        return f"told apart with AUC {entry['auc']:.2f}"
    return ""
