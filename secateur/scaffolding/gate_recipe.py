"""Rules for the gate and for retraining: nothing asks for more rows than there are; pure."""

from collections.abc import Iterator, Mapping
from math import ceil, sqrt

from secateur.config.promote import SignificanceSection
from secateur.data.survey import Survey
from secateur.kinds.base import Kind
from secateur.scaffolding.params_text import Choice
from secateur.scaffolding.parts import MARGIN, TEST_ROWS, Parts, attacked, typical_length
from secateur.statistics.margins import USUAL, provable, rows_for


def gate(seen: Survey, parts: Parts, *, length: int, kind: Kind) -> Iterator[Choice]:
    """Choose how many rows the gate asks for, and what it allows where they are few.

    Args:
        seen: the rows.
        parts: as they will be divided.
        length: ``baseline.max_length``.
        kind: labels can be judged where it predicts them, and numbers have no groups but slices.
    """
    rows = max(1, min(TEST_ROWS, int(MARGIN * parts.test)))
    said = f"test rows that no model has learned from; {seen.least}{parts.test} today, and a few may go"
    yield Choice("promote.min_rows", rows, said)
    if kind.predicts_labels:
        guess = always_the_same(seen.labels) if not seen.sets else always_all(seen.labels, rows=seen.kept)
        what = "all labels" if seen.sets else "the same answer"
        said = f"whatever the champion has; {what} to everything has {guess:.2f}"
        yield Choice("promote.min_macro_f1", min(0.95, ceil(20 * guess + 1) / 20), said)
    if kind.tells_numbers:
        yield Choice(
            f"promote.min_{kind.measure.name}", 0.05, "whatever the champion has; one answer to everything has 0"
        )
    if kind.route == "predict":
        yield from _drop(seen, parts)
    yield Choice("promote.latency.length", typical_length(seen, length), "as prune.latency.length")
    if kind.predicts_labels:
        yield from _labels(parts, seen)
    if kind.route == "predict":
        yield from _slices(parts)
    if kind.is_attacked:
        yield Choice("promote.robustness.rows", attacked(parts), "as evaluate.robustness.rows")
        yield from _scaled("promote.robustness.max_drop", 0.05, rows=attacked(parts), at=256)
    elif kind.route == "predict":
        yield Choice("promote.robustness.rows", 0, "as evaluate.robustness.rows")


def _drop(seen: Survey, parts: Parts) -> Iterator[Choice]:
    level = SignificanceSection().level
    if (shown := provable(parts.telling, level=level)) > USUAL:
        few = f"{shown:g}, the least loss that {seen.least}{parts.test} test rows rule out"
        yield Choice("promote.max_drop", "auto", f"{few}; {USUAL:g} takes {rows_for(USUAL, level=level)}")


def _labels(parts: Parts, seen: Survey) -> Iterator[Choice]:
    label = max(10, min(100, int(MARGIN * parts.rarest)))
    said = f"test rows that a label needs to be judged; the rarest has {seen.least}{parts.rarest}"
    yield Choice("promote.classes.min_rows", label, said)
    yield from _scaled("promote.classes.max_recall_drop", 0.05, rows=label, at=100)
    yield from _scaled("promote.classes.max_f1_drop", 0.05, rows=label, at=100)


def _slices(parts: Parts) -> Iterator[Choice]:
    # Lengths are sliced in thirds, so that there are slices of this size.
    part = max(1, min(100, parts.test, max(20, int(MARGIN * parts.test / 3))))
    said = f"test rows that a slice needs to be judged; a third is some {parts.test // 3}"
    yield Choice("promote.slices.min_rows", part, said)
    yield from _scaled("promote.slices.max_drop", 0.06, rows=part, at=100)


def _scaled(name: str, drop: float, *, rows: int, at: int) -> Iterator[Choice]:
    """Allow as much more as fewer rows tell less: their chance grows with one over the root of their number."""
    if rows < at:
        allowed = min(1.0, ceil(100 * drop * sqrt(at / rows)) / 100)
        yield Choice(name, allowed, f"may be lost to chance alone on {rows} rows, as {drop:g} on {at}")


def retraining(seen: Survey) -> Iterator[Choice]:
    """Choose which tables a scheduled run refuses: none that is like this one."""
    rows = max(1, min(10_000, seen.kept // 2))
    yield Choice("retrain.quality.min_rows", rows, "half of today's rows: a table that lost more is not trained on")
    for name, allowed, part, whole, what in (
        ("max_empty", 0.05, seen.unusable, seen.rows, "have no text or no label"),
        ("max_duplicates", 0.9, seen.repeated, seen.rows - seen.unusable, "repeat an earlier one"),
    ):
        share = part / max(1, whole)
        if share > MARGIN * allowed:
            limit = min(0.99, ceil(100 * (share + (1 - share) / 4)) / 100)
            yield Choice(f"retrain.quality.{name}", limit, f"{part} of {whole} rows {what}")


def always_all(labels: Mapping[str, int], *, rows: int) -> float:
    """Return the macro-F1 of a model that always gives all of several labels: 2 p / (1 + p) of the share p of each."""
    return sum(2 * count / (rows + count) for count in labels.values()) / max(1, len(labels))


def always_the_same(labels: Mapping[str, int]) -> float:
    """Return the macro-F1 of a model that always gives the most frequent label."""
    if not labels:
        return 0.0
    share = max(labels.values()) / max(1, sum(labels.values()))
    return 2 * share / (1 + share) / len(labels)
