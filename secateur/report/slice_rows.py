"""Scores per slice of the test set, and the rows on which dense and pruned disagree."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from secateur.report.results import Json, ModelResult
from secateur.report.tables import accepted

_FEW_ROWS = 50


@dataclass(frozen=True)
class SliceRow:
    """One slice: how many test rows it holds, each model's macro-F1, and what the chosen round changes.

    ``bar`` is the change as a share of the largest one in the table, in [-1, 1]; ``few`` marks a slice whose scores
    say little.
    """

    name: str
    words: str
    rows: int
    macro_f1: tuple[float | None, ...]
    change: float | None
    bar: float
    few: bool


@dataclass(frozen=True)
class Changes:
    """Rows of the test set by who is right about them, and examples."""

    model: str
    both_right: int
    lost: int
    gained: int
    both_wrong: int
    lost_examples: tuple[Json, ...]
    gained_examples: tuple[Json, ...]


def slice_rows(results: Sequence[ModelResult], details: Json, *, best: ModelResult | None) -> tuple[SliceRow, ...]:
    """Return the slices that hold any row, in the order of ``details["slices"]``; none for a run without them."""
    words: Json = details.get("slices", {})
    shown = [result for result in accepted(results) if result.details.get("slices")]
    if not shown or not shown[0].is_dense:
        return ()
    found = []
    for name, description in words.items():
        entries: list[Any] = [result.details["slices"].get(name) for result in shown]
        if entries[0] is None:
            continue
        after = best.details.get("slices", {}).get(name) if best else None
        change = after["macro_f1"] - entries[0]["macro_f1"] if after else None
        scores = tuple(entry["macro_f1"] if entry else None for entry in entries)
        found.append((name, str(description), int(entries[0]["rows"]), scores, change))
    largest = max((abs(change) for *_, change in found if change is not None), default=0.0)
    return tuple(
        SliceRow(
            name, description, rows, scores, change, (change or 0.0) / largest if largest else 0.0, rows < _FEW_ROWS
        )
        for name, description, rows, scores, change in found
    )


def changes(results: Sequence[ModelResult]) -> tuple[Changes, ...]:
    """Return what each accepted round changed against dense, as far as the run says it."""
    return tuple(
        Changes(
            model=result.title,
            both_right=int(found["both_right"]),
            lost=int(found["lost"]),
            gained=int(found["gained"]),
            both_wrong=int(found["both_wrong"]),
            lost_examples=tuple(found["lost_examples"]),
            gained_examples=tuple(found["gained_examples"]),
        )
        for result in accepted(results)
        if (found := result.details.get("changes"))
    )
