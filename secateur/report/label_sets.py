"""How models that give several labels are shown: macro-F1 in points, each label, slices, rows that are lost and won."""

from collections.abc import Iterator, Sequence

from secateur.report import classifiers, columns, formats, slice_rows, tables
from secateur.report.presentation import Column, Evaluated, Json, Presentation, Score, Section, Words
from secateur.report.scales import POINTS


def _columns(rows: Sequence[Json]) -> list[Column]:
    return [
        *columns.score_columns("macro_f1", "macro-F1", POINTS),
        Column("micro-F1", columns.of("micro_f1", "{:.4f}")),
        Column("exact", columns.of("accuracy", "{:.4f}")),
        Column("deployed", columns.of("deployed_macro_f1", "{:.4f}")),
        columns.size_column(),
        *columns.timed_columns(rows),
    ]


def _sections(shown: Evaluated) -> Iterator[Section]:
    labels = [str(label) for label in shown.details.get("labels", ())]
    rows = tables.class_rows(shown.results, labels, best=shown.best)
    values = {"labels": labels, "classes": rows, "matrices": (), "pairs": ()}
    yield Section("classes", "Labels", "{% include 'classes.html.j2' %}", values)
    if slices := slice_rows.slice_rows(shown.results, shown.details, best=shown.best):
        yield Section("slices", "Slices", "{% include 'slices.html.j2' %}", {"slices": slices})
    changes = slice_rows.changes(shown.results)
    yield Section("mistakes", "Mistakes", "{% include 'mistakes.html.j2' %}", {"changes": changes})


PRESENTATION = Presentation(
    scale=POINTS,
    scores=(
        Score("macro_f1", "Macro-F1", formats.score),
        Score("micro_f1", "Micro-F1", formats.score),
        Score("accuracy", "Exact match", formats.score, note="all labels right"),
    ),
    columns=_columns,
    sections=lambda shown: tuple(_sections(shown)),
    compared=classifiers.PRESENTATION.compared,
    words=Words(loss="nats per row and label"),
    simple=classifiers.PRESENTATION.simple,
)
