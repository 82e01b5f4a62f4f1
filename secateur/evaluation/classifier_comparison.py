"""Two classifiers side by side on the test rows of today."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from secateur.evaluation.classifier_measurement import predicted_by
from secateur.evaluation.findings import Answered
from secateur.evaluation.metrics import accuracy, confusion, macro_f1
from secateur.evaluation.said import name_of
from secateur.gate.condition import IntArray, JudgedRows
from secateur.inference.prediction import Predictor
from secateur.progress import progress
from secateur.readers.pairs import shown
from secateur.statistics.discordant import Discordant, mcnemar
from secateur.statistics.f1 import f1_by_label, micro_f1_of_rows, right_rows


def compare_classifiers(
    folders: Mapping[str, Path], rows: JudgedRows, *, num_threads: int, num_examples: int
) -> dict[str, Any]:
    """Return scores, changed predictions with examples, and what they come to; JSON values."""
    with progress("compare", total=len(folders) * len(rows.texts)) as advance:
        predicted = {
            side: predicted_by(
                Predictor.load(folder, num_threads=num_threads),
                rows.texts,
                names=rows.names,
                advance=partial(advance, f"model {side}"),
            )
            for side, folder in folders.items()
        }
    counts = Discordant.of(rows.labels, predicted["a"], predicted["b"])
    return {
        "scores": {side: _scores(rows, found) for side, found in predicted.items()},
        "changed": int((~right_rows(predicted["a"], predicted["b"])).sum()),
        "lost": counts.lost,
        "won": counts.won,
        "p": mcnemar(counts),
        "examples": _examples(rows, predicted["a"], predicted["b"], num_examples=num_examples),
    }


def _scores(rows: JudgedRows, predicted: IntArray) -> dict[str, float]:
    f1 = f1_by_label(rows.labels, predicted, num_labels=len(rows.names))[1]
    found = {"accuracy": float(right_rows(rows.labels, predicted).mean()), "macro_f1": float(f1.mean())}
    if rows.labels.ndim == 2:
        found["micro_f1"] = micro_f1_of_rows(rows.labels, predicted, num_labels=len(rows.names))
    return found


def _examples(rows: JudgedRows, before: IntArray, after: IntArray, *, num_examples: int) -> list[dict[str, str]]:
    """Return changed predictions: those lost first, then those won, then one mistake for another, in row order."""
    changed = np.flatnonzero(~right_rows(before, after))
    was, is_ = (right_rows(rows.labels, said)[changed] for said in (before, after))
    right = np.where(was, 0, np.where(is_, 1, 2))
    ordered = changed[np.argsort(right, kind="stable")]
    return [
        {
            "text": shown(rows.texts[row]),
            "label": name_of(rows.names, rows.labels[row]),
            "a": name_of(rows.names, before[row]),
            "b": name_of(rows.names, after[row]),
        }
        for row in ordered[:num_examples].tolist()
    ]


def labels_again(folder: Path, *, test: Path, labels: Path) -> Answered:
    """Let a classifier label the test rows; a label that these rows do not know is wrong on every row."""
    names = json.loads(labels.read_text(encoding="utf-8"))
    table = pq.read_table(test, columns=["text", "label"])
    truth = [names[index] for index in table["label"].to_pylist()]
    said = [prediction.label for prediction in Predictor.load(folder).predict(table["text"].to_pylist())]
    index = {name: number for number, name in enumerate([*names, *sorted(set(said) - set(names))])}
    counts = confusion([index[name] for name in truth], [index[name] for name in said], num_labels=len(index))
    values = {"accuracy": float(accuracy(counts)), "macro_f1": float(macro_f1(counts))}
    return Answered(values, "macro_f1", said, f"macro-F1 {values['macro_f1']:.4f} on {len(said)} test rows")


def sets_again(folder: Path, *, test: Path, labels: Path) -> Answered:
    """Let a model that gives several labels label the test rows; one that they do not know is wrong throughout."""
    names = json.loads(labels.read_text(encoding="utf-8"))
    table = pq.read_table(test, columns=["text", "label"])
    predictor = Predictor.load(folder)
    known = [*names, *sorted(set(predictor.labels) - set(names))]
    truth = np.zeros((table.num_rows, len(known)), np.int64)
    truth[:, : len(names)] = table["label"].to_pylist()
    found = predictor.predict(table["text"].to_pylist())
    said = np.array([[name in one.labels for name in known] for one in found], np.int64)
    values = {
        "accuracy": float(right_rows(truth, said).mean()),
        "macro_f1": float(f1_by_label(truth, said, num_labels=len(known))[1].mean()),
        "micro_f1": micro_f1_of_rows(truth, said, num_labels=len(known)),
    }
    said_of_it = f"macro-F1 {values['macro_f1']:.4f} on {len(said)} test rows"
    return Answered(values, "macro_f1", [one.label for one in found], said_of_it)
