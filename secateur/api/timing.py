"""``secateur.bench`` and ``latency_table``: how long models take, and what every width of a block costs."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from transformers import PreTrainedModel

from secateur.api.checkpoints import Model, folder_of
from secateur.api.given import copied
from secateur.budget.latency_measurement import measure_table
from secateur.budget.latency_table import LatencyTable
from secateur.config.base import Runtime
from secateur.config.prune import LatencyBudget
from secateur.config.schema import describe
from secateur.errors import ConfigError
from secateur.inference.latency import LatencyResult
from secateur.inference.latency import bench as time_checkpoints


def bench(
    models: Mapping[str, Model] | Sequence[Model],
    *,
    runtimes: Sequence[Runtime] = ("onnx",),
    batch: int = 1,
    length: int = 32,
    num_threads: int = 1,
    repeats: int = 100,
) -> list[LatencyResult]:
    """Time models in one interleaved run; the first one is the reference of the speed-up.

    Args:
        models: by name, or in a sequence: then a folder is its own name, and a model in memory is called by its place.
        runtimes: ``torch``, ``onnx``, ``onnx-int8``.
        batch: rows per call.
        length: tokens per row.
        num_threads: threads of the runtime.
        repeats: timed calls per model and runtime.

    Returns:
        One result per model and runtime; ``checkpoint`` is the name.

    Raises:
        ConfigError: there is no model, no such runtime, or a number is out of range.
        CheckpointError, ModelError: a model cannot be read, or reads fewer tokens than ``length``.
    """
    named = dict(models) if isinstance(models, Mapping) else dict(_named(models))
    if not named:
        raise ConfigError("bench: there is no model to time")
    for runtime in runtimes:
        _where(runtime=runtime, batch=batch, length=length, num_threads=num_threads, repeats=repeats)
    with tempfile.TemporaryDirectory() as scratch:
        folders = {
            folder_of(model, Path(scratch) / f"model-{i}"): name for i, (name, model) in enumerate(named.items())
        }
        results = time_checkpoints(
            list(folders),
            runtimes=runtimes,
            batch=batch,
            length=length,
            num_threads=num_threads,
            repeats=repeats,
            workdir=Path(scratch),
        )
    return [replace(result, checkpoint=Path(folders[result.checkpoint])) for result in results]


def latency_table(
    model: PreTrainedModel,
    *,
    runtime: Runtime = "onnx",
    batch: int = 1,
    length: int = 32,
    num_threads: int = 1,
    repeats: int = 50,
) -> LatencyTable:
    """Measure what every width of a block costs on a runtime: the prices of a budget of latency, minutes of work.

    Args:
        model: dense; its weights do not matter. Of a language model a step is timed, one token after ``length - 1``.
        runtime: ``torch``, ``onnx``, ``onnx-int8``.
        batch: rows per call.
        length: tokens per row.
        num_threads: threads of the runtime.
        repeats: timed calls per model.

    Returns:
        The table, for ``secateur.prune(..., budget={"latency": 0.5, "table": table})``; ``doubt`` says why nobody
        should rely on it, None if it can be.

    Raises:
        ConfigError: there is no such runtime, or a number is out of range.
        ModelError: the model was pruned before, reads fewer tokens, or its graph cannot be measured.
    """
    where = _where(runtime=runtime, batch=batch, length=length, num_threads=num_threads, repeats=repeats)
    config = copied(model).config
    return measure_table(config, where)


def _where(**values: Any) -> LatencyBudget:
    try:
        return LatencyBudget(**values)
    except ValidationError as error:
        raise ConfigError(describe(error)) from error


def _named(models: Sequence[Model]) -> Iterator[tuple[str, Model]]:
    for place, model in enumerate(models, start=1):
        yield str(model) if isinstance(model, str | Path) else f"model {place}", model
