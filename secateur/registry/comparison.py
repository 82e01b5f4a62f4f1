"""Two registered versions side by side: what was measured at their builds, and what they say about today's rows."""

from collections.abc import Mapping
from typing import Any

from secateur.errors import ModelError
from secateur.inference.latency import torch_threads
from secateur.kinds.registry import kind_named
from secateur.registry.as_registered import tell_of_scores
from secateur.registry.measurement import read_judged_rows
from secateur.registry.model_source import kind_of, resolve
from secateur.registry.registered_version import RegisteredVersion
from secateur.workflow.project import Project

TRAINING = "training/"


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
        ModelError: they are of two kinds.
        ProjectError: there are no test rows.
    """
    rows = read_judged_rows(project)
    for entry in entries.values():
        tell_of_scores(entry)
    models = {side: resolve(project, entry.reference, registry=registry) for side, entry in entries.items()}
    kinds = {side: kind_of(model.checkpoint) for side, model in models.items()}
    if kinds["a"] != kinds["b"]:
        said = " and ".join(f"{models[side].label} is for {kind}" for side, kind in kinds.items())
        raise ModelError(f"{said}; two models of one task can be compared")
    folders = {side: model.folder for side, model in models.items()}
    with torch_threads(num_threads):
        kind = kind_named(kinds["a"])
        found = kind.compare_models(folders, rows, num_threads=num_threads, num_examples=num_examples)
    named = {side: {"name": entry.name, "version": entry.version} for side, entry in entries.items()}
    return {
        **named,
        "task": kind.name,
        "metrics": _metrics(entries["a"].metrics, entries["b"].metrics),
        "test_rows": len(rows.texts),
        "test_md5": rows.md5,
        **found,
    }


def _metrics(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, dict[str, float | None]]:
    names = sorted(name for name in {*one, *other} if not name.startswith(TRAINING))
    return {name: {"a": one.get(name), "b": other.get(name)} for name in names}
