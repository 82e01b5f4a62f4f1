"""What cleaning did, as plain JSON: how many rows each rule touched, with examples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from secateur.readers import label_sets
from secateur.readers.label_sets import counted
from secateur.readers.pairs import shown

MAX_EXAMPLES = 20
_NUM_BINS = 20
_LONG_TAIL = 0.99
_NUMBER_BINS = 8


@dataclass(frozen=True)
class Example:
    """One row as a rule met it and as the rule left it; ``after`` is None where the rule changes no text."""

    before: str
    after: str | None
    label: str

    def as_json(self) -> dict[str, str | None]:
        """Return plain values, for people."""
        after = None if self.after is None else shown(self.after)
        return {"before": shown(self.before), "after": after, "label": label_sets.shown(self.label)}


@dataclass(frozen=True)
class RuleEffect:
    """One rule of cleaning and what it did to how many rows, of each label; ``kept`` counts rows that it spared."""

    rule: str
    effect: Literal["changed", "dropped", "kept"]
    rows: int
    examples: tuple[Example, ...]
    labels: Mapping[str, int] = field(default_factory=dict)


def effect_on(
    rule: str,
    effect: Literal["changed", "dropped", "kept"],
    touched: NDArray[np.int64],
    example: Callable[[int], Example],
    labels: Sequence[str | None] = (),
) -> RuleEffect:
    """Record what a rule did to the rows ``touched``, with examples spread evenly over them.

    ``labels`` is the label of every row of the data, where they are to be counted.
    """
    counts = counted(labels[i] for i in touched.tolist()) if labels else {}
    picked = np.unique(np.linspace(0, len(touched) - 1, min(MAX_EXAMPLES, len(touched))).astype(np.int64))
    return RuleEffect(rule, effect, len(touched), tuple(example(int(row)) for row in touched[picked]), dict(counts))


def to_json_value(
    *,
    source: Mapping[str, Any],
    num_read: int,
    num_kept: int,
    labels: Sequence[str],
    parts: Mapping[str, NDArray[Any]],
    effects: Sequence[RuleEffect],
    lengths: Sequence[int] | NDArray[np.int64],
    remarks: Sequence[str] = (),
    starts: Mapping[str, str] | None = None,
    numbers: bool = False,
) -> dict[str, Any]:
    """Return the report.

    Args:
        source: the provenance record.
        num_read: records of the source.
        num_kept: rows after cleaning, before the caps.
        labels: names in index order.
        parts: name of a split -> label index of each of its rows, or 0 and 1 for every label.
        effects: what the rules did, in order.
        lengths: characters of each kept row.
        remarks: what a person should know, one line each.
        starts: the first time of each part that judges, where rows were divided by time.
        numbers: a row of a part has a number instead of a label.
    """
    counts = {part: rows_of_labels(targets, num_labels=len(labels)) for part, targets in parts.items() if labels}
    none = {part: int((targets.sum(axis=1) == 0).sum()) for part, targets in parts.items() if targets.ndim == 2}
    return {
        "source": dict(source),
        "rows": {"read": num_read, "kept": num_kept, **{part: len(rows) for part, rows in parts.items()}},
        "labels": {name: {part: int(counts[part][index]) for part in parts} for index, name in enumerate(labels)},
        **({"without_label": none} if none else {}),
        "rules": [
            {
                "rule": effect.rule,
                "effect": effect.effect,
                "rows": effect.rows,
                **({"labels": dict(effect.labels)} if effect.labels else {}),
                "examples": [example.as_json() for example in effect.examples],
            }
            for effect in effects
        ],
        "length_chars": histogram(np.asarray(lengths, np.int64)),
        "remarks": list(remarks),
        **({"starts": dict(starts)} if starts else {}),
        **({"numbers": spread_of(parts)} if numbers else {}),
    }


def spread_of(parts: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return how the numbers of each part are spread: mean, standard deviation, and rows by bins of equal width.

    Bin i holds ``edges[i] <= number < edges[i + 1]``, the last one its upper end as well.
    """
    every = np.concatenate(list(parts.values()))
    edges = np.linspace(float(every.min()), float(every.max()), _NUMBER_BINS + 1)
    return {
        "edges": [float(f"{edge:.6g}") for edge in edges],
        "parts": {
            name: {
                "mean": float(values.mean()),
                "standard_deviation": float(values.std()),
                "counts": np.histogram(values, bins=edges)[0].tolist(),
            }
            for name, values in parts.items()
            if len(values)
        },
    }


def rows_of_labels(targets: NDArray[Any], *, num_labels: int) -> NDArray[np.int64]:
    """Count the rows of each label, (C,).

    Args:
        targets: label index of each row, (rows,); or 0 and 1 for every label, (rows, C).
        num_labels: C.
    """
    counts = targets.sum(axis=0) if targets.ndim == 2 else np.bincount(targets.astype(np.int64), minlength=num_labels)
    return np.asarray(counts, np.int64)


def histogram(lengths: NDArray[np.int64]) -> dict[str, list[int]]:
    """Count lengths in bins of one width, and the longest hundredth in the last bin.

    Bin i holds ``edges[i] <= length < edges[i + 1]``.
    """
    width = max(1, -(-int(np.quantile(lengths, _LONG_TAIL)) // _NUM_BINS))
    edges = [width * i for i in range(_NUM_BINS)]
    edges.append(max(width * _NUM_BINS, int(lengths.max()) + 1))
    counts, _ = np.histogram(lengths, bins=np.array(edges))
    return {"edges": edges, "counts": [int(count) for count in counts]}
