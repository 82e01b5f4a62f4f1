"""What cleaning took, in lines for the person who asked for it: each rule by its parameter's name, and each label."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from secateur.data.cleaning import Cleaned
from secateur.data.data_report import RuleEffect, rows_of_labels
from secateur.readers.label_sets import counted
from secateur.readers.labels import counted_in

MUCH = 1 / 3
"""A rule that takes more than this share of the rows, or of those of a label, is told apart from the others."""

_PARAMETERS = {
    "empty_text": "ingest.text_column",
    "missing_label": "ingest.label_column",
    "missing_time": "ingest.time_column",
    "exact_duplicates": "equal texts",
    "near_duplicates": "clean.near_duplicate_threshold",
    "rare_labels": "ingest.rare_labels",
    "given_texts": "texts of rows that judge",
    "given_near_copies": "near copies of rows that judge (clean.near_duplicate_threshold)",
    "given_groups": "groups of rows that judge (ingest.group_column)",
}
_MAX_NAMED = 5


def parameter_of(rule: str) -> str:
    """Return the parameter by which a user turns a rule, or what it looks at where there is none."""
    name = rule.partition(" (")[0]
    return _PARAMETERS.get(name, f"clean.{name}") + rule[len(name) :]


def remarks_on(
    raw: pa.Table,
    cleaned: Cleaned,
    *,
    spread: int,
    labelled: bool,
    also: Sequence[RuleEffect] = (),
    by_time: bool = False,
) -> tuple[str, ...]:
    """Return what was dropped, what was spared, and which labels lost much.

    Args:
        raw: rows before cleaning.
        cleaned: rows after it.
        spread: rows that resemble rows of another part of the split.
        labelled: whether the rows have labels.
        also: effects on other rows (those that were given to judge).
        by_time: whether the parts were divided by time.
    """
    dropped = [e for e in (*cleaned.effects, *also) if e.effect == "dropped" and e.rows]
    remarks: list[str] = []
    if dropped:
        by_rule = ", ".join(f"{parameter_of(e.rule)} {e.rows}" for e in sorted(dropped, key=lambda e: -e.rows))
        remarks.append(f"{len(cleaned.texts)} of {raw.num_rows} rows stay; dropped: {by_rule}")
    cut = next((e.rows for e in cleaned.effects if (e.rule, e.effect) == ("max_chars", "changed")), 0)
    if cut:
        remarks.append(f"{cut} texts ({cut / raw.num_rows:.1%}) were cut at clean.max_chars")
    remarks += [_much(e, e.rows, raw.num_rows, "the rows") for e in dropped if e.rows > MUCH * raw.num_rows]
    if labelled:
        remarks += _by_label(raw, dropped)
    remarks += _spared(cleaned)
    if spread:
        why = "written at another time" if by_time else "too many alike for one part"
        remarks.append(f"{spread} rows resemble rows in another part of the split: {why}")
    return tuple(remarks)


def absent(parts: Mapping[str, NDArray[Any]], names: Sequence[str]) -> list[str]:
    """Say which labels no row of a part has.

    Args:
        parts: name of a part -> label index of each of its rows, or 0 and 1 for every label.
        names: of the labels; none where rows have no labels.
    """
    remarks = []
    for part, indices in parts.items():
        counts = rows_of_labels(indices, num_labels=len(names)) if names else np.ones(0)
        if missing := [name for name, count in zip(names, counts, strict=False) if not count]:
            more = f" and {len(missing) - _MAX_NAMED} more" if len(missing) > _MAX_NAMED else ""
            remarks.append(f"no {part} row has the label {', '.join(map(repr, missing[:_MAX_NAMED]))}{more}")
    return remarks


def blame(raw: pa.Table, cleaned: Cleaned, *, min_rows: int) -> str:
    """Return which rule took most of the labels that have fewer than ``min_rows`` rows left; empty if none has."""
    before, after = counted_in(raw["label"]), counted(cleaned.labels)
    said = []
    for label, rows in sorted(before.items()):
        if rows >= min_rows > after[label]:
            took = max(
                (e for e in cleaned.effects if e.effect == "dropped"),
                key=lambda e: e.labels.get(label, 0),
                default=None,
            )
            if took is not None and took.labels.get(label):
                said.append(f"{parameter_of(took.rule)} took {took.labels[label]} of {rows} rows of {label!r}")
    return "; ".join(said[:_MAX_NAMED]) + "; " if said else ""


def _by_label(raw: pa.Table, dropped: Sequence[RuleEffect]) -> list[str]:
    before = counted_in(raw["label"])
    remarks = []
    for effect in dropped:
        if effect.rows > MUCH * raw.num_rows or effect.rule == "rare_labels":
            continue  # said of all rows, or by name
        much = [label for label, rows in sorted(before.items()) if effect.labels.get(label, 0) > MUCH * rows]
        remarks += [
            _much(effect, effect.labels[label], before[label], f"the label {label!r}") for label in much[:_MAX_NAMED]
        ]
    return remarks


_SEVERAL = "; texts that have several labels each stand in one row with all of them (multi_label)"


def _much(effect: RuleEffect, rows: int, of: int, what: str) -> str:
    said = f"{parameter_of(effect.rule)} took {rows} of {of} rows of {what}".replace("rows of the rows", "rows")
    return said + (_SEVERAL if effect.rule == "label_conflicts" and effect.labels else "")


def _spared(cleaned: Cleaned) -> list[str]:
    kept = {effect.rule: effect for effect in cleaned.effects if effect.effect == "kept" and effect.rows}
    remarks = []
    if effect := kept.get("near_duplicates"):
        what = "labels" if effect.labels else "numbers"
        remarks.append(
            f"{effect.rows} rows are near copies with other {what}: all stay, alike ones in one part if it has room"
        )
    if effect := kept.get("given_near_copies"):
        remarks.append(
            f"{effect.rows} rows are like rows that were given to judge, and stay: with other labels, or too many of a "
            "label (clean.near_duplicate_max_share)"
        )
    if effect := kept.get("near_duplicate_max_share"):
        listed = ", ".join(f"{label!r} ({rows})" for label, rows in sorted(effect.labels.items())[:_MAX_NAMED])
        labels = listed or "the rows"
        remarks.append(
            f"{effect.rows} rows repeat each other, more than clean.near_duplicate_max_share of {labels}: all stay, "
            "alike ones in one part if it has room"
        )
    return remarks
