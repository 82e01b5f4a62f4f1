"""Two registered versions side by side: what was measured at their builds, and what they say about today's rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from secateur.evaluation.latency import torch_threads
from secateur.evaluation.paired import Discordant, f1_by_label, mcnemar
from secateur.evaluation.prediction import Predictor
from tasks.model_source import resolve
from tasks.project import Project
from tasks.registry.measurement import IntArray, JudgedRows, predicted_by, read_judged_rows

TRAINING = "training/"


def compare(
    project: Project, entries: Mapping[str, Mapping[str, Any]], *, registry: Any, num_threads: int, num_examples: int
) -> dict[str, Any]:
    """Compare two versions on the test rows of the workspace, both in their deployed form.

    Args:
        project: whose test rows are predicted.
        entries: ``a`` and ``b`` -> description of a version, as the registry gives it.
        registry: an open one.
        num_threads: of the runtimes.
        num_examples: changed predictions that are listed, at most.

    Returns:
        JSON values: ``metrics`` of the builds, ``scores`` on today's rows, ``changed`` rows with ``examples``, rows
        ``lost`` and ``won`` from a to b, and the two-sided exact McNemar ``p``.

    Raises:
        CheckFailed: a file is not the one registered.
        ProjectError: there are no test rows.
    """
    rows = read_judged_rows(project)
    predicted: dict[str, IntArray] = {}
    for side, entry in entries.items():
        folder = resolve(project, f"models:/{entry['name']}/{entry['version']}", registry=registry).folder
        with torch_threads(num_threads):
            loaded = Predictor.load(folder, num_threads=num_threads)
            predicted[side] = predicted_by(loaded, rows.texts, names=rows.names)
    counts = Discordant.of(rows.labels, predicted["a"], predicted["b"])
    named = {side: {"name": entry["name"], "version": entry["version"]} for side, entry in entries.items()}
    return {
        **named,
        "metrics": _metrics(entries["a"]["metrics"], entries["b"]["metrics"]),
        "scores": {side: _scores(rows, found) for side, found in predicted.items()},
        "test_rows": len(rows.texts),
        "test_md5": rows.md5,
        "changed": int((predicted["a"] != predicted["b"]).sum()),
        "lost": counts.lost,
        "won": counts.won,
        "p": mcnemar(counts),
        "examples": _examples(rows, predicted["a"], predicted["b"], num_examples=num_examples),
    }


def _metrics(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, dict[str, float | None]]:
    names = sorted(name for name in {*one, *other} if not name.startswith(TRAINING))
    return {name: {"a": one.get(name), "b": other.get(name)} for name in names}


def _scores(rows: JudgedRows, predicted: IntArray) -> dict[str, float]:
    f1 = f1_by_label(rows.labels, predicted, num_labels=len(rows.names))[1]
    return {"accuracy": float((predicted == rows.labels).mean()), "macro_f1": float(f1.mean())}


def _examples(rows: JudgedRows, before: IntArray, after: IntArray, *, num_examples: int) -> list[dict[str, str]]:
    """Return changed predictions: those lost first, then those won, then one mistake for another, in row order."""
    changed = np.flatnonzero(before != after)
    right = np.where(before[changed] == rows.labels[changed], 0, np.where(after[changed] == rows.labels[changed], 1, 2))
    ordered = changed[np.argsort(right, kind="stable")]
    return [
        {
            "text": rows.texts[row],
            "label": rows.names[rows.labels[row]],
            "a": _name(rows, before[row]),
            "b": _name(rows, after[row]),
        }
        for row in ordered[:num_examples].tolist()
    ]


def _name(rows: JudgedRows, index: int) -> str:
    return rows.names[index] if index >= 0 else "another label"
