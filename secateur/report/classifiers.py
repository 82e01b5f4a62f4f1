"""How classifiers are shown: macro-F1 in points, classes, slices, and the rows that are lost and won."""

from collections.abc import Iterator, Sequence
from typing import Any

from secateur.report import columns, formats, slice_rows, tables
from secateur.report.presentation import Column, Compared, Evaluated, Json, Presentation, Score, Section, Simple
from secateur.report.scales import POINTS


def _columns(rows: Sequence[Json]) -> list[Column]:
    return [
        *columns.score_columns("macro_f1", "macro-F1", POINTS),
        Column("accuracy", columns.of("accuracy", "{:.4f}")),
        Column("deployed", columns.of("deployed_macro_f1", "{:.4f}")),
        columns.size_column(),
        Column("attacked", columns.of("robust_macro_f1", "{:.4f}")),
        *columns.timed_columns(rows),
    ]


def _sections(shown: Evaluated) -> Iterator[Section]:
    results, best = shown.results, shown.best
    labels = [str(label) for label in shown.details.get("labels", ())]
    yield Section("classes", "Classes", "{% include 'classes.html.j2' %}", _classes(shown, labels))
    if slices := slice_rows.slice_rows(results, shown.details, best=best):
        yield Section("slices", "Slices", "{% include 'slices.html.j2' %}", {"slices": slices})
    changes = slice_rows.changes(results)
    yield Section("mistakes", "Mistakes", "{% include 'mistakes.html.j2' %}", {"changes": changes})


def _classes(shown: Evaluated, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "labels": labels,
        "classes": tables.class_rows(shown.results, labels, best=shown.best),
        "matrices": tables.confusion_matrices(shown.results, labels),
        "numbered": tables.has_long_headings(labels),
        "pairs": tables.frequent_confusions(shown.results, labels),
    }


def _compared(found: Json, names: Sequence[str]) -> Compared:
    said = (
        f"{found['changed']} of {found['test_rows']} predictions differ: {found['lost']} right in {names[0]} alone, "
        f"{found['won']} in {names[1]} alone (exact McNemar, p = {found['p']:.3g})"
    )
    rows = tuple((row["label"], row["a"], row["b"], row["text"]) for row in found["examples"])
    return Compared(said, ("label", *names, "text"), rows)


def _simple_said(found: Json) -> str:
    return f"{found['name']}: macro-F1 {found['macro_f1']:.4f}, accuracy {found['accuracy']:.4f} on the same rows"


def _simple_remark(found: Json) -> tuple[str, str]:
    ends = f"{formats.score(found['macro_f1_low'])}–{formats.score(found['macro_f1_high'])}"
    return "What needs no model:", (
        f"{found['name']} reaches macro-F1 {formats.score(found['macro_f1'])} ({ends}) and accuracy "
        f"{formats.score(found['accuracy'])} on the same rows."
    )


PRESENTATION = Presentation(
    scale=POINTS,
    scores=(Score("macro_f1", "Macro-F1", formats.score), Score("accuracy", "Accuracy", formats.score)),
    columns=_columns,
    sections=lambda shown: tuple(_sections(shown)),
    compared=_compared,
    simple=Simple(_simple_said, _simple_remark),
)
