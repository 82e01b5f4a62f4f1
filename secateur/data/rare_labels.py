"""Labels of which cleaning leaves too few rows to learn from: left out, or one label for all of them, when asked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from secateur.data.cleaning import Cleaned
from secateur.data.data_report import Example, effect_on
from secateur.data.stored_texts import picked
from secateur.readers.label_sets import counted, labels_in, renamed
from secateur.readers.label_spelling import LabelRules

OTHER = "other"
_MAX_NAMED = 8


def rare_among(labels: Sequence[str | None], rules: LabelRules) -> frozenset[str]:
    """Return the labels that have fewer rows than ``ingest.rare_label_rows``; none where they are to be refused."""
    if rules.rare_labels == "refuse":
        return frozenset()
    counts = counted(labels)
    return frozenset(label for label, rows in counts.items() if rows < rules.rare_label_rows)


def without(labels: Sequence[str | None], rare: frozenset[str], rules: LabelRules) -> list[str | None]:
    """Return the labels with those that are rare as one, or as none; a set loses them and stays."""
    names = dict.fromkeys(rare, OTHER if rules.rare_labels == "merge" else None)
    return [renamed(label, names, sets=rules.sets) for label in labels]


def without_rare(
    cleaned: Cleaned, judging: Mapping[str, Cleaned], rules: LabelRules
) -> tuple[Cleaned, dict[str, Cleaned], tuple[str, ...]]:
    """Settle the labels that are rare among the rows to learn from, there and among those that judge.

    Args:
        cleaned: rows to learn from.
        judging: rows that were given to judge, by their part.
        rules: what is rare, and what happens to it.

    Returns:
        Both, and what a person should know.
    """
    counts = counted(cleaned.labels)
    rare = rare_among(cleaned.labels, rules)
    if rules.rare_labels != "refuse":
        rare |= {label for rows in judging.values() for label in counted(rows.labels) if not counts[label]}
    if not rare:
        return cleaned, dict(judging), ()
    named = ", ".join(f"{label!r} ({counts[label]})" for label in sorted(rare)[:_MAX_NAMED])
    more = f" and {len(rare) - _MAX_NAMED} more" if len(rare) > _MAX_NAMED else ""
    left_out = "are taken from their rows, which stay," if rules.sets else "are left out"
    done = left_out if rules.rare_labels == "drop" else f"are one label, {OTHER!r},"
    said = f"labels of fewer than {rules.rare_label_rows} rows {done} by ingest.rare_labels: {named}{more}"
    given = {part: _settled(rows, rare, rules) for part, rows in judging.items()}
    return _settled(cleaned, rare, rules), given, (said,)


def _settled(cleaned: Cleaned, rare: frozenset[str], rules: LabelRules) -> Cleaned:
    touched = np.array([i for i, label in enumerate(cleaned.labels) if rare.intersection(labels_in(label))], np.int64)

    def example(i: int) -> Example:
        return Example(cleaned.texts[i], None, cleaned.labels[i])

    drops = rules.rare_labels == "drop" and not rules.sets
    effect: Literal["dropped", "changed"] = "dropped" if drops else "changed"
    effects = (*cleaned.effects, effect_on("rare_labels", effect, touched, example, cleaned.labels))
    if not drops:
        labels = [label or "" for label in without(cleaned.labels, rare, rules)]
        return replace(cleaned, labels=labels, effects=effects)
    left = np.setdiff1d(np.arange(len(cleaned.labels)), touched)
    return Cleaned(
        texts=picked(cleaned.texts, left),
        labels=[cleaned.labels[i] for i in left],
        rows=cleaned.rows[left],
        alike=cleaned.alike[left],
        groups=None if cleaned.groups is None else [cleaned.groups[i] for i in left],
        effects=effects,
        times=None if cleaned.times is None else cleaned.times.take(left),
    )
