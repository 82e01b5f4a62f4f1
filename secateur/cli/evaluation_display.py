"""What ``evaluate`` prints: scores with intervals, and who was taken for whom."""

from collections.abc import Mapping, Sequence
from typing import Any

_MAX_LABELS = 5
_MAX_PAIRS = 10
_NAME_CHARS = 10
_TITLES = {
    "rmse": "RMSE",
    "mae": "MAE",
    "macro_mae": "macro MAE",
    "micro_f1": "micro-F1",
    "macro_f1": "macro-F1",
    "spearman": "Spearman",
}
_LARGE = 1e6


def show_scores(title: str, result: Mapping[str, Any]) -> None:
    """Print the scores of a model, or of one slice, each with its interval."""
    from secateur.cli import display
    from secateur.kinds.registry import kind_named

    measure, names = kind_named(result["kind"]).measure, list(result["scores"])
    titles = [measure.title if name == measure.name else _TITLES.get(name, name.replace("_", " ")) for name in names]
    made = display.table(title, "rows with", ">rows", *(f">{title} (95 % interval)" for title in titles))
    made.add_row("all", str(result["rows"]), *(_interval(result["scores"][name]) for name in names))
    for column, slices in result["slices"].items():
        made.add_section()
        for value, found in slices.items():
            scores = (_interval(found["scores"][name]) for name in names)
            made.add_row(display.plain(f"{column} = {value}"), str(found["rows"]), *scores)
    display.show(made)


def _interval(score: Mapping[str, float]) -> str:
    decimals = 3 if abs(score["value"]) < 10 else 1
    parts = (score[part] for part in ("value", "low", "high"))
    value, low, high = (f"{part:.{decimals}f}" if abs(part) < _LARGE else f"{part:.2g}" for part in parts)
    return f"{value} ({low} to {high})"


def units_of(kind: str, label: str) -> list[str]:
    """Say in what the scores of a kind are counted, where their names do not.

    Args:
        kind: name of the kind.
        label: column of the labels.
    """
    from secateur.kinds.registry import GRADE, NUMBER, SEVERAL

    said = {
        NUMBER: f"RMSE and MAE are in the units of {label!r}; R² of 1 is without error, 0 that of the rows' mean",
        GRADE: f"MAE counts by how many grades answers are off; accuracy is the very grade of {label!r}",
        SEVERAL: "accuracy is the share of texts of which all labels are right",
    }
    return [said[kind]] if kind in said else []


def show_confusion(*, labels: Sequence[str], counts: Sequence[Sequence[int]]) -> None:
    """Print who was taken for whom: a table of few labels, the commonest pairs of many."""
    from secateur.cli import display

    if len(labels) > _MAX_LABELS:
        _show_pairs(labels, counts)
        return
    said = [f">said {_clipped(label)}" for label in labels]
    made = display.table("Which label was said of which", "label", *said, ">right")
    for place, (label, row) in enumerate(zip(labels, counts, strict=True)):
        right = f"{row[place] / sum(row):.1%}" if sum(row) else ""
        made.add_row(display.plain(label), *map(str, row), right)
    display.show(made)


def _show_pairs(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> None:
    """Show what is mistaken most; a table of all pairs would not fit."""
    from secateur.cli import display

    pairs = [
        (count, true, said)
        for true, row in zip(labels, counts, strict=True)
        for said, count in zip(labels, row, strict=True)
        if true != said and count
    ]
    made = display.table("What is mistaken most", "label", "said", ">rows")
    for count, true, said in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2]))[:_MAX_PAIRS]:
        made.add_row(display.plain(true), display.plain(said), str(count))
    display.show(made)


def _clipped(label: str) -> str:
    from secateur.cli import display

    return display.plain(label if len(label) <= _NAME_CHARS else label[: _NAME_CHARS - 1] + "…")
