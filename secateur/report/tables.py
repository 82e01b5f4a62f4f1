"""What the tables of the page hold: structure left in each layer, confusions, classes, mistakes, rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from secateur.report.results import Json, ModelResult

MAX_MATRIX_LABELS = 12
_MAX_PAIRS = 15
_MAX_HEADING_CHARS = 12


@dataclass(frozen=True)
class Cell:
    """A count, and its share of what would fill the cell's colour."""

    value: int
    share: float


@dataclass(frozen=True)
class Grid:
    """Structures of one kind: one row per layer, one column per model, and the sums."""

    kind: str
    models: tuple[str, ...]
    layers: tuple[tuple[Cell, ...], ...]
    totals: tuple[Cell, ...]


@dataclass(frozen=True)
class Matrix:
    """Confusions of one model: a row per true label, a column per predicted label, shares of the row."""

    model: str
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Pair:
    """One kind of mistake, and how often each of the models made it."""

    actual: str
    predicted: str
    counts: tuple[int, ...]


@dataclass(frozen=True)
class ClassRow:
    """One label: its rows in the test set, each model's F1, and what the chosen round changes."""

    label: str
    support: int
    f1: tuple[float, ...]
    change: float | None


@dataclass(frozen=True)
class LabelRow:
    """One label: rows per split, and its share of all kept rows."""

    label: str
    splits: tuple[int, ...]
    total: int
    share: float


def accepted(results: Sequence[ModelResult]) -> tuple[ModelResult, ...]:
    """Leave out what was tried and rolled back: nobody gets it, and the page compares what one can choose from."""
    return tuple(result for result in results if result.accepted)


def attacked(results: Sequence[ModelResult]) -> tuple[ModelResult, ...]:
    """Return the models that were attacked, all with the same attacks; none when dense was not."""
    found = [result for result in accepted(results) if result.robustness]
    if not found or not found[0].is_dense or found[0].robustness is None:
        return ()
    names = list(found[0].robustness.attacks)
    return tuple(result for result in found if result.robustness and list(result.robustness.attacks) == names)


def width_grids(results: Sequence[ModelResult]) -> tuple[Grid, ...]:
    """Count heads and FFN neurons per layer and model, as shares of dense; of a rolled-back round what it tried."""
    described = [(result, widths) for result in results if (widths := _widths(result))]
    if not described or not described[0][0].is_dense:
        return ()
    grids = []
    for key, kind in (("heads", results[0].kind.presentation().words.heads), ("ffn", "FFN neurons")):
        dense = [int(width) for width in described[0][1][key]]
        columns = [[int(width) for width in widths[key]] for _, widths in described]
        layers = tuple(
            tuple(_cell(column[index], whole) for column in columns if index < len(column))
            for index, whole in enumerate(dense)
        )
        totals = tuple(_cell(sum(column), sum(dense)) for column in columns)
        names = tuple(result.title if result.accepted else f"{result.title}, rolled back" for result, _ in described)
        grids.append(Grid(kind=kind, models=names, layers=layers, totals=totals))
    return tuple(grids)


def confusion_matrices(results: Sequence[ModelResult], labels: Sequence[str]) -> tuple[Matrix, ...]:
    """Return the matrices of dense and of these rounds, or none when there are too many labels to read."""
    if len(labels) > MAX_MATRIX_LABELS:
        return ()
    return tuple(
        Matrix(
            model=result.title,
            rows=tuple(tuple(_cell(int(value), sum(row)) for value in row) for row in confusion),
        )
        for result in accepted(results)
        if (confusion := result.details.get("confusion"))
    )


def frequent_confusions(results: Sequence[ModelResult], labels: Sequence[str]) -> tuple[Pair, ...]:
    """Return the pairs of labels that are confused most, all models together; ties in label order."""
    matrices = [result.details["confusion"] for result in accepted(results) if result.details.get("confusion")]
    pairs = [
        Pair(actual=actual, predicted=predicted, counts=counts)
        for row, actual in enumerate(labels)
        for column, predicted in enumerate(labels)
        if row != column and any(counts := tuple(int(matrix[row][column]) for matrix in matrices))
    ]
    return tuple(sorted(pairs, key=lambda pair: -sum(pair.counts))[:_MAX_PAIRS])


def class_rows(
    results: Sequence[ModelResult], labels: Sequence[str], *, best: ModelResult | None
) -> tuple[ClassRow, ...]:
    """Return the per-class scores; rare labels last, because their scores say least."""
    scored = [result for result in accepted(results) if result.details.get("per_class")]
    if not scored:
        return ()
    dense = scored[0].details["per_class"]
    rows = []
    for label in labels:
        after = best.details.get("per_class", {}).get(label) if best else None
        rows.append(
            ClassRow(
                label=label,
                support=int(dense[label]["support"]),
                f1=tuple(result.details["per_class"][label]["f1"] for result in scored),
                change=after["f1"] - dense[label]["f1"] if after else None,
            )
        )
    return tuple(sorted(rows, key=lambda row: -row.support))


def num_mistakes(result: ModelResult) -> int:
    """Count the wrong predictions on the test set, of which the page shows some."""
    if "mistakes" in result.details:
        return int(result.details["mistakes"])
    confusion = result.details.get("confusion", ())
    return sum(value for row, values in enumerate(confusion) for column, value in enumerate(values) if row != column)


def has_long_headings(labels: Sequence[str]) -> bool:
    """Tell whether labels are too long or too many to stand over narrow columns; numbers stand there then."""
    return len(labels) > 5 or any(len(label) > _MAX_HEADING_CHARS for label in labels)


def label_rows(data: Json) -> tuple[LabelRow, ...]:
    """Return the kept rows per label and split, the most frequent label first; of numbers in bins."""
    if "numbers" in data:
        return _number_rows(data["numbers"])
    labels = data.get("labels", {})
    kept = sum(sum(splits.values()) for splits in labels.values())
    if "without_label" in data:  # rows have several labels, or none
        kept = sum(data["rows"][part] for part in data["without_label"])
    rows = [
        LabelRow(
            label=label,
            splits=tuple(int(splits.get(name, 0)) for name in ("train", "validation", "test")),
            total=sum(splits.values()),
            share=sum(splits.values()) / kept if kept else 0.0,
        )
        for label, splits in labels.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.total, row.label)))


def _widths(result: ModelResult) -> Json | None:
    widths: Json | None = result.details.get("widths") or result.card.widths
    return widths if widths and widths.get("heads") and "ffn" in widths else None  # a student has no layers


def _cell(value: int, whole: int) -> Cell:
    return Cell(value=value, share=value / whole if whole else 0.0)


def _number_rows(numbers: Json) -> tuple[LabelRow, ...]:
    edges, parts = numbers["edges"], numbers["parts"]
    total = max(1, sum(sum(part["counts"]) for part in parts.values()))
    found = []
    for index, (low, high) in enumerate(pairwise(edges)):
        splits = tuple(int(part["counts"][index]) for part in parts.values())
        found.append(LabelRow(f"{low:g} to {high:g}", splits, sum(splits), sum(splits) / total))
    return tuple(found)
