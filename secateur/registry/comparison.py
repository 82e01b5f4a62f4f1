"""Two registered versions side by side: what was measured at their builds, and what they say about today's rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from secateur.errors import ModelError
from secateur.evaluation.f1 import f1_by_label
from secateur.evaluation.paired import Discordant, bootstrap_growth, mcnemar
from secateur.inference.latency import torch_threads
from secateur.inference.prediction import Predictor
from secateur.registry.measurement import IntArray, JudgedRows, predicted_by, read_judged_rows
from secateur.registry.model_source import Resolved, resolve, task_of
from secateur.registry.registered_version import RegisteredVersion
from secateur.workflow.project import Project

TRAINING = "training/"

_BATCH_SIZE = 64
_SAMPLES = 1000
_TAIL = 0.025
"""On each side of the interval."""


def compare(
    project: Project, entries: Mapping[str, RegisteredVersion], *, registry: Any, num_threads: int, num_examples: int
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
        ``lost`` and ``won`` from a to b, and the two-sided exact McNemar ``p``. Generators lose a text when it is less
        probable in b than in a (``p`` is that of the sign test), and ``growth`` of perplexity has an interval.

    Raises:
        CheckFailed: a file is not the one registered.
        ModelError: one writes texts, the other does not.
        ProjectError: there are no test rows.
    """
    rows = read_judged_rows(project)
    models = {side: resolve(project, entry.reference, registry=registry) for side, entry in entries.items()}
    tasks = {side: task_of(model.checkpoint) for side, model in models.items()}
    if tasks["a"] != tasks["b"]:
        said = " and ".join(f"{models[side].label} is for {task}" for side, task in tasks.items())
        raise ModelError(f"{said}; two models of one task can be compared")
    of_task = _compare_generators if tasks["a"] == "generation" else _compare_classifiers
    with torch_threads(num_threads):
        found = of_task(models, rows, num_threads=num_threads, num_examples=num_examples)
    named = {side: {"name": entry.name, "version": entry.version} for side, entry in entries.items()}
    return {
        **named,
        "task": tasks["a"],
        "metrics": _metrics(entries["a"].metrics, entries["b"].metrics),
        "test_rows": len(rows.texts),
        "test_md5": rows.md5,
        **found,
    }


def _compare_classifiers(
    models: Mapping[str, Resolved], rows: JudgedRows, *, num_threads: int, num_examples: int
) -> dict[str, Any]:
    predicted = {
        side: predicted_by(Predictor.load(model.folder, num_threads=num_threads), rows.texts, names=rows.names)
        for side, model in models.items()
    }
    counts = Discordant.of(rows.labels, predicted["a"], predicted["b"])
    return {
        "scores": {side: _scores(rows, found) for side, found in predicted.items()},
        "changed": int((predicted["a"] != predicted["b"]).sum()),
        "lost": counts.lost,
        "won": counts.won,
        "p": mcnemar(counts),
        "examples": _examples(rows, predicted["a"], predicted["b"], num_examples=num_examples),
    }


def _compare_generators(
    models: Mapping[str, Resolved], rows: JudgedRows, *, num_threads: int, num_examples: int
) -> dict[str, Any]:
    from secateur.inference.writing import Writer
    from secateur.registry.generator_measurement import losses_of

    writers = {side: Writer.load(model.folder, num_threads=num_threads) for side, model in models.items()}
    found = {side: losses_of(writer, rows, batch_size=_BATCH_SIZE) for side, writer in writers.items()}
    characters = found["a"].characters
    difference = (found["b"].losses - found["a"].losses) / characters
    counts = Discordant(len(characters), lost=int((difference > 0).sum()), won=int((difference < 0).sum()))
    drawn = bootstrap_growth(found["a"].losses, found["b"].losses, characters=characters, samples=_SAMPLES, seed=0)
    per_text = {side: np.exp(losses.losses / characters) for side, losses in found.items()}
    most = np.argsort(-np.abs(difference), kind="stable")[:num_examples]
    return {
        "scores": {
            side: {
                "char_perplexity": float(np.exp(losses.losses.sum() / characters.sum())),
                "perplexity": float(np.exp(losses.loss)),
            }
            for side, losses in found.items()
        },
        "growth": {
            "value": float(np.expm1((found["b"].losses - found["a"].losses).sum() / characters.sum())),
            "low": float(np.quantile(drawn, _TAIL)),
            "high": float(np.quantile(drawn, 1.0 - _TAIL)),
        },
        "changed": counts.lost + counts.won,
        "lost": counts.lost,
        "won": counts.won,
        "p": mcnemar(counts),
        "examples": [
            {
                "text": rows.texts[row],
                "label": rows.names[rows.labels[row]] if rows.names else None,
                "a": float(per_text["a"][row]),
                "b": float(per_text["b"][row]),
            }
            for row in most.tolist()
        ],
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
