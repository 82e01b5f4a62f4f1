"""``retrain``: when a scheduled run trains, and which data it refuses to train on."""

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from secateur.config.base import Fraction, PositiveFraction, PositiveInt, Section

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"([1-9][0-9]*)([smhdw])")
_LONGEST = timedelta(days=36_500)
"""Dates end in the year 9999, and a schedule adds durations to them."""


def parse_duration(text: str) -> timedelta:
    """Read ``90s``, ``10m``, ``6h``, ``30d`` or ``4w``.

    Raises:
        ValueError: it is not of this form, or longer than a hundred years.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no duration; write a whole number and a unit: 90s, 10m, 6h, 30d or 4w")
    try:
        duration = timedelta(**{_UNITS[found[2]]: int(found[1])})
    except (OverflowError, ValueError):  # more than timedelta holds, or more digits than Python reads
        duration = timedelta.max
    if duration > _LONGEST:
        raise ValueError(f"{text[:40]} is longer than a hundred years; write {_LONGEST.days}d or less")
    return duration


class QualitySection(Section):
    """What the rows of a source must be like; otherwise a run is held before anything is trained.

    The last three compare with the rows that the champion was trained from, where there is one.
    """

    min_rows: Annotated[PositiveInt, Field(description="rows with a text and a label, at least")] = 100
    max_empty: Annotated[Fraction, Field(description="share of rows without a text or a label, at most")] = 0.05
    max_duplicates: Annotated[
        Fraction, Field(description="share of rows whose text occurred before, at most (cleaning drops them)")
    ] = 0.9
    max_lost_rows: Annotated[
        PositiveFraction, Field(description="share of the champion's rows by which the source may shrink")
    ] = 0.5
    max_label_shift: Annotated[
        PositiveFraction,
        Field(
            description="change of any label's share (of numbers: of the share below any number), absolute, at most; 1 = any"
        ),
    ] = 0.15
    changed_labels: Annotated[
        Literal["hold", "accept"], Field(description="labels that are new, or no longer occur: hold the run, or train")
    ] = "hold"


class RetrainSection(Section):
    """Settings of ``secateur retrain`` and ``secateur schedule``; no stage depends on them.

    Rows of a corpus without labels need a text alone, and the two limits of labels mean nothing there.
    """

    max_age: Annotated[
        str | None,
        Field(
            pattern=r"^[1-9][0-9]*[smhdw]$",
            description="an unchanged champion older than this (90s, 10m, 6h, 30d, 4w) is verified and scored again; "
            "null = never",
        ),
    ] = "30d"
    quality: Annotated[QualitySection, Field(description="what the rows must be like")] = QualitySection()
    drift_rows: Annotated[
        int,
        Field(ge=0, description="rows of each side whose embeddings are compared in the drift report; 0 = none"),
    ] = 512
    metric_tolerance: Annotated[
        Fraction,
        Field(
            description="accuracy and macro-F1 of a rebuilt model, of a generator nats per character, may differ by this "
            "where bits cannot be equal"
        ),
    ] = 0.01

    push: Annotated[
        bool,
        Field(
            description="send the data version to DVC's remote after a promotion, so that it can be rebuilt elsewhere"
        ),
    ] = False

    @property
    def age_limit(self) -> timedelta | None:
        """``max_age`` as a time span."""
        return None if self.max_age is None else parse_duration(self.max_age)
