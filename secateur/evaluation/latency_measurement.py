"""Measuring a latency table: models of random weights on the runtime that is deployed."""

import copy
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from secateur.config.prune import LatencyBudget
from secateur.config.run import Task
from secateur.errors import ModelError
from secateur.evaluation.graph_slicing import DenseGraph
from secateur.evaluation.language_model import TorchLanguageModel
from secateur.evaluation.latency import time_runners, torch_threads
from secateur.evaluation.latency_design import corrected, design_for, fit_prices, solutions
from secateur.evaluation.latency_table import Check, LatencyTable, Shape, shape_of
from secateur.evaluation.machine import describe_machine
from secateur.evaluation.runners import Ids, OnnxRunner, Runner, StepRunner, TorchRunner
from secateur.models.families import family_of
from secateur.models.hidden import cut_hidden_
from secateur.models.structures import Masks, Widths
from secateur.models.surgery import cut_

_VOCABULARY = 1024
"""Rows of the embeddings: a call reads a few of them, however many there are, and memory is saved."""

_GROUP_BYTES = 2_000_000_000
"""Weights that are loaded at the same time."""

_NUM_REFITS = 2
_NUM_CHOSEN = 14
_NUM_CHECKS = 8
_LONG_PASS = 3

Opener = Callable[[Widths], Runner]


def measure_table(
    config: PreTrainedConfig,
    settings: LatencyBudget,
    *,
    hidden_size: int | None = None,
    task: Task = "classification",
) -> LatencyTable:
    """Time models of many widths and turn the times into prices of blocks.

    Every block is timed inside whole models, so caches, fusion and threads are as in production. The models run
    in interleaved groups with the dense model in each, and every group is scaled to the same dense time. Models
    that the solver chooses by these prices are timed and fitted as well, and the last ones correct the mean error; what
    the table predicts for others that it chooses stands in ``checks``.

    Args:
        config: of the dense model; its weights do not matter.
        settings: runtime, rows and tokens per call, threads, timed calls per model. A generator reads the last of the
            tokens after the others are in its cache.
        hidden_size: features of the residual stream that stay in all models but the dense one; None = all.
        task: what the model does.

    Raises:
        ModelError: the model has fewer positions than ``settings.length``, its graph cannot be sliced, or the runtime
            has no cached step.
    """
    if task == "generation" and settings.runtime != "torch":
        raise ModelError(f"prune.latency.runtime={settings.runtime}: tables of generators are measured on torch")
    limit = family_of(config).max_tokens(config)
    if settings.length > limit:
        raise ModelError(f"prune.latency.length={settings.length} is more than the model can read ({limit} tokens)")
    shape = shape_of(config, hidden_size=hidden_size, task=task)
    design = design_for(shape)
    model = _random_model(config, task)
    with torch_threads(settings.num_threads), tempfile.TemporaryDirectory() as workdir:
        dense = _opener(model, settings, Path(workdir) / "dense.onnx", task=task)
        narrow = dense
        if hidden_size is not None:
            narrow = _opener(_narrowed(model, hidden_size), settings, Path(workdir) / "narrow.onnx", task=task)
        run = _Run(dense, narrow, settings=settings, shape=shape, vocab_size=model.config.vocab_size)
        models = list(design.models)
        dense_ms, times = _time_all(run, models)
        prices = fit_prices(models, times, ffn_widths=design.ffn_widths)
        for seed in range(_NUM_REFITS):
            chosen = solutions(prices, shape, ffn_widths=design.ffn_widths, count=_NUM_CHOSEN, seed=seed)
            models += chosen
            times += _time_all(run, chosen, dense_ms=dense_ms)[1]
            prices = fit_prices(models, times, ffn_widths=design.ffn_widths)
        table = LatencyTable(
            ffn_widths=design.ffn_widths,
            dense_ms=dense_ms,
            settings=settings,
            shape=shape,
            machine=describe_machine(),
            **asdict(prices),
        )
        chosen = solutions(prices, shape, ffn_widths=design.ffn_widths, count=_NUM_CHOSEN, seed=_NUM_REFITS)
        # What the machine does meanwhile moves all times of a pass, so the pass that decides on the mean is a long one.
        long = replace(run, settings=settings.model_copy(update={"repeats": _LONG_PASS * settings.repeats}))
        found = _time_all(long, chosen, dense_ms=dense_ms)[1]
        prices = corrected(prices, [table.predict(widths) for widths in chosen], found)
        table = replace(table, **asdict(prices))
        checked = solutions(prices, shape, ffn_widths=design.ffn_widths, count=_NUM_CHECKS, seed=_NUM_REFITS + 1)
        measured = _time_all(run, checked, dense_ms=dense_ms)[1]
    return table.checked(
        tuple(
            Check(heads=widths.heads, ffn=widths.ffn, predicted_ms=table.predict(widths), measured_ms=found)
            for widths, found in zip(checked, measured, strict=True)
        )
    )


def _random_model(config: PreTrainedConfig, task: Task) -> PreTrainedModel:
    config = copy.deepcopy(config)
    with torch.random.fork_rng(devices=[]):
        if task == "generation":  # its head reads the whole vocabulary for every token
            return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        config.vocab_size = min(config.vocab_size, _VOCABULARY)
        return AutoModelForSequenceClassification.from_config(config, dtype=torch.float32).eval()


def _narrowed(model: PreTrainedModel, hidden_size: int) -> PreTrainedModel:
    narrow = copy.deepcopy(model)
    cut_hidden_(narrow, torch.arange(family_of(model).hidden_size(model.config)) < hidden_size)
    return narrow


def _opener(model: PreTrainedModel, settings: LatencyBudget, file: Path, *, task: Task) -> Opener:
    """Return what makes a runner of any widths; ``file`` is overwritten each time."""
    if settings.runtime == "torch":
        if task == "generation":
            return lambda widths: StepRunner(TorchLanguageModel(cut_copy(model, widths)))
        return lambda widths: TorchRunner(cut_copy(model, widths))
    graph = DenseGraph(model, int8=settings.runtime == "onnx-int8")

    def open_(widths: Widths) -> Runner:
        onnx.save(graph.slice(widths), file)
        return OnnxRunner(file, num_threads=settings.num_threads)

    return open_


def cut_copy(model: PreTrainedModel, widths: Widths) -> PreTrainedModel:
    """Return a copy with the first heads and neurons of each layer, and the last layers if there are fewer."""
    family = family_of(model)
    # Nothing changes embeddings and head, which may be most of the model: all copies share them.
    shared = [
        parameter for module in (family.embeddings(model), *family.head(model)) for parameter in module.parameters()
    ]
    cut = copy.deepcopy(model, {id(parameter): parameter for parameter in shared})
    dense = family.dense_widths(model.config)
    family.keep_layers_(cut, range(dense.num_layers - widths.num_layers, dense.num_layers))
    cut_(
        cut,
        Masks(
            heads=tuple(torch.arange(dense.heads[0]) < count for count in widths.heads),
            ffn=tuple(torch.arange(dense.ffn[0]) < count for count in widths.ffn),
        ),
    )
    return cut


@dataclass(frozen=True)
class _Run:
    """What is the same for all models of a table."""

    dense: Opener
    narrow: Opener
    settings: LatencyBudget
    shape: Shape
    vocab_size: int


def _time_all(run: _Run, models: Sequence[Widths], *, dense_ms: float | None = None) -> tuple[float, list[float]]:
    """Return the milliseconds of the dense model and of every other one, scaled to those of dense if they are given."""
    settings, shape, narrow = run.settings, run.shape, run.narrow
    ids: Ids = np.random.default_rng(0).integers(run.vocab_size, size=(settings.batch, settings.length))
    reference = run.dense(shape.dense)
    ratios = np.ones(len(models))
    references: list[float] = []
    for group in _groups(models, shape=shape):
        runners: dict[int, Runner] = {-1: reference, **{place: narrow(models[place]) for place in group}}
        timed = time_runners(runners, ids=ids, repeats=settings.repeats)
        times = {place: np.array(values) for place, values in timed.items()}
        references += times[-1].tolist()
        for place in group:
            # Both calls of a ratio stand in the same round, so a slow second of the machine slows both.
            ratios[place] = np.median(times[place] / times[-1])
    dense_ms = float(np.median(references)) if dense_ms is None else dense_ms
    return dense_ms, (ratios * dense_ms).tolist()


def _groups(models: Sequence[Widths], *, shape: Shape) -> list[list[int]]:
    """Split the places of the models into groups that fit into memory, each with models of all kinds."""
    layer = shape.hidden_size * (4 * shape.num_heads * shape.head_dim + 2 * shape.ffn)
    half = 2 * shape.num_layers * layer  # bytes of a model of half the width, which the average one is
    num_groups = -(-len(models) * half // _GROUP_BYTES)
    order = np.random.default_rng(0).permutation(len(models)).tolist()
    return [order[start::num_groups] for start in range(num_groups)]
