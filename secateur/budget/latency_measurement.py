"""Measuring a latency table: models of random weights on the runtime that is deployed."""

import copy
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from transformers import PreTrainedConfig, PreTrainedModel

from secateur.budget.block_prices import BlockPrices, corrected, fit_prices
from secateur.budget.graph_slicing import DenseGraph
from secateur.budget.latency_design import Design, design_for, solutions
from secateur.budget.latency_table import Check, LatencyTable, Shape, check_measurable, shape_of
from secateur.config.prune import LatencyBudget
from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.structures import Masks, Widths
from secateur.inference.language_model import OnnxLanguageModel, TorchLanguageModel
from secateur.inference.latency import time_runners, torch_threads
from secateur.inference.machine import describe_machine
from secateur.inference.runners import Ids, OnnxRunner, Runner, StepRunner, TorchRunner
from secateur.models.heads import head_of
from secateur.models.hidden import cut_hidden_
from secateur.models.rotation import can_rotate
from secateur.models.surgery import cut_
from secateur.progress import Advance, progress

_VOCABULARY = 1024
"""Rows of the embeddings: a call reads a few of them, however many there are, and memory is saved."""

_GROUP_BYTES = 2_000_000_000
"""Weights that are loaded at the same time."""

_NUM_REFITS = 2
_NUM_CHOSEN = 14
_NUM_CHECKS = 8
_LONG_PASS = 3
_CHECK_PASSES = 3
_MAX_ATTEMPTS = 3

Opener = Callable[[Widths], Runner]


def measure_table(
    config: PreTrainedConfig,
    settings: LatencyBudget,
    *,
    hidden_size: int | None = None,
) -> LatencyTable:
    """Time models of many widths and turn the times into prices of blocks.

    Every block is timed inside whole models, so caches, fusion and threads are as in production. The models run
    in interleaved groups with the dense model in each, and every group is scaled to the same dense time. Models
    that the solver chooses by these prices are timed and fitted as well, and the last ones correct the mean error; what
    the table predicts for others that it chooses stands in ``checks``. While those say that the table is off by more
    than ``settings.max_error``, all is measured again, three times at the most; whether the best of these tables is
    good enough, its ``doubt`` says.

    Args:
        config: of the dense model; its weights do not matter.
        settings: runtime, rows and tokens per call, threads, timed calls per model. A generator reads the last of the
            tokens after the others are in its cache.
        hidden_size: features of the residual stream that stay in all models but the dense one; None = all.

    Raises:
        ModelError: the model has fewer positions than ``settings.length``, or its graph cannot be sliced.
    """
    check_measurable(config, settings)
    per_token = head_of(config).per_token
    shape = shape_of(config, hidden_size=hidden_size)
    model = _random_model(config)
    with torch_threads(settings.num_threads), tempfile.TemporaryDirectory() as workdir:
        dense = _opener(model, settings, Path(workdir) / "dense.onnx", per_token=per_token)
        narrow = dense
        if hidden_size is not None:
            narrow = _opener(
                _narrowed(model, hidden_size), settings, Path(workdir) / "narrow.onnx", per_token=per_token
            )
        run = _Run(dense, narrow, settings=settings, shape=shape, vocab_size=model.config.vocab_size)
        return _least_doubtful(run, design_for(shape))


def _least_doubtful(run: "_Run", design: Design) -> LatencyTable:
    """Measure until there is no doubt, but not for ever."""
    tables: list[LatencyTable] = []
    title = "latency table"
    for attempt in range(_MAX_ATTEMPTS):
        with progress(title, total=_num_calls(run.settings, design), live=False) as advance:
            tables.append(_attempt(replace(run, advance=advance), design, first_seed=attempt * (_NUM_REFITS + 2)))
        if tables[-1].doubt is None:
            return tables[-1]
        title = f"latency table, measured again: off by {tables[-1].worst_error:.0%}"
    return min(tables, key=lambda table: max(table.worst_error, table.spread))


def _attempt(run: "_Run", design: Design, *, first_seed: int) -> LatencyTable:
    """Time the models of the design and those that the solver chooses, fit, correct and check.

    An attempt stands alone: times of a noisy minute would spoil those of a quiet one.
    """
    seeds = iter(range(first_seed, first_seed + _NUM_REFITS + 2))

    def chosen(prices: BlockPrices, count: int) -> list[Widths]:
        return solutions(prices, run.shape, ffn_widths=design.ffn_widths, count=count, seed=next(seeds))

    models = list(design.models)
    dense_ms, times = _time_all(run, models)
    prices = fit_prices(models, times, ffn_widths=design.ffn_widths)
    for _ in range(_NUM_REFITS):
        further = chosen(prices, _NUM_CHOSEN)
        models += further
        times += _time_all(run, further, dense_ms=dense_ms)[1]
        prices = fit_prices(models, times, ffn_widths=design.ffn_widths)
    table = LatencyTable(
        ffn_widths=design.ffn_widths,
        dense_ms=dense_ms,
        settings=run.settings,
        shape=run.shape,
        machine=describe_machine(),
        **asdict(prices),
    )
    # What the machine does meanwhile moves all times of a pass, so the pass that decides on the mean is a long one.
    models = chosen(prices, _NUM_CHOSEN)
    found = _time_all(run, models, dense_ms=dense_ms, repeats=_LONG_PASS * run.settings.repeats)[1]
    table = replace(table, **asdict(corrected(prices, [table.predict(widths) for widths in models], found)))
    return table.checked(_checks(run, table, chosen(prices, _NUM_CHECKS)))


def _checks(run: "_Run", table: LatencyTable, models: Sequence[Widths]) -> tuple[Check, ...]:
    """Time models that the table was not fitted to, in passes that tell how far a time can be trusted."""
    passes = np.array([_time_all(run, models, dense_ms=table.dense_ms)[1] for _ in range(_CHECK_PASSES)])
    measured = np.median(passes, axis=0)
    spread = (passes.max(axis=0) - passes.min(axis=0)) / 2 / measured
    return tuple(
        Check(
            widths.heads, widths.ffn, predicted_ms=table.predict(widths), measured_ms=float(found), spread=float(half)
        )
        for widths, found, half in zip(models, measured, spread, strict=True)
    )


def _num_calls(settings: LatencyBudget, design: Design) -> int:
    """Return the calls of an attempt; some fewer, where the solver chooses a model twice."""
    passes = len(design.models) + (_NUM_REFITS + _LONG_PASS) * _NUM_CHOSEN + _CHECK_PASSES * _NUM_CHECKS
    return settings.repeats * passes


def _random_model(config: PreTrainedConfig) -> PreTrainedModel:
    config = copy.deepcopy(config)
    with torch.random.fork_rng(devices=[]):
        head = head_of(config)
        if not head.per_token:  # else the whole vocabulary is read for every token
            config.vocab_size = min(config.vocab_size, _VOCABULARY)
        model: PreTrainedModel = head.auto.from_config(config, dtype=torch.float32).eval()
        family_of(model).prepare_(model)
        return model


def _narrowed(model: PreTrainedModel, hidden_size: int) -> PreTrainedModel:
    """Return a copy that computes as much as what ``reshape_`` leaves."""
    narrow, family = copy.deepcopy(model), family_of(model)
    keep = torch.arange(family.hidden_size(model.config)) < hidden_size
    if can_rotate(model) and not bool(keep.all()):
        family.write_gain_matrix_(narrow.config)
        family.prepare_(narrow)
    cut_hidden_(narrow, keep)
    return narrow


def _opener(model: PreTrainedModel, settings: LatencyBudget, file: Path, *, per_token: bool) -> Opener:
    """Return what makes a runner of any widths; ``file`` is overwritten each time."""
    if settings.runtime == "torch":
        if per_token:
            return lambda widths: StepRunner(TorchLanguageModel(cut_copy(model, widths)))
        return lambda widths: TorchRunner(cut_copy(model, widths))
    try:
        graph = DenseGraph(model)
        open_ = partial(
            _open_slice, file=file, settings=settings, vocab_size=model.config.vocab_size if per_token else 0
        )
        if graph.counts:
            _require_same(partial(open_, graph), model)
    except ModelError as error:
        raise ModelError(f"prune.latency.runtime={settings.runtime}: {error}; torch would work") from error
    return partial(open_, graph.quantized() if settings.runtime == "onnx-int8" else graph)


def _open_slice(graph: DenseGraph, widths: Widths, *, file: Path, settings: LatencyBudget, vocab_size: int) -> Runner:
    """Return a runner of the slice; of a generator, whose vocabulary is told, step by step."""
    onnx.save(graph.slice(widths), file)
    if vocab_size:
        return StepRunner(OnnxLanguageModel(file, num_threads=settings.num_threads, vocab_size=vocab_size))
    return OnnxRunner(file, num_threads=settings.num_threads)


def _require_same(open_: Opener, model: PreTrainedModel) -> None:
    """Compare a slice with the model that is cut so: how a decoder counts its heads is no matter of its table.

    Raises:
        ModelError: they answer differently.
    """
    dense, per_token = family_of(model).dense_widths(model.config), head_of(model).per_token
    layers = range(dense.num_layers)
    widths = Widths(  # a layer without heads, one without neurons, and others of half of both
        heads=tuple(0 if i == 1 else max(1, dense.heads[0] // 2) for i in layers),
        ffn=tuple(0 if i == 2 else max(1, dense.ffn[0] // 2) for i in layers),
        head_dim=dense.head_dim,
    )
    cut = cut_copy(model, widths)
    expected_of = StepRunner(TorchLanguageModel(cut)) if per_token else TorchRunner(cut)
    ids: Ids = np.random.default_rng(0).integers(model.config.vocab_size, size=(2, 7))
    mask = np.ones_like(ids)
    found, expected = open_(widths)(ids, mask), expected_of(ids, mask)
    if not np.allclose(found, expected, rtol=0.0, atol=1e-3 * float(np.abs(expected).max())):
        raise ModelError(
            f"graphs of {model.config.model_type} cannot be cut to other widths, so nobody knows how long these take"
        )


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
    advance: Advance | None = None


def _time_all(
    run: _Run, models: Sequence[Widths], *, dense_ms: float | None = None, repeats: int | None = None
) -> tuple[float, list[float]]:
    """Return the milliseconds of the dense model and of every other one, scaled to those of dense if they are given."""
    settings, shape, narrow = run.settings, run.shape, run.narrow
    ids: Ids = np.random.default_rng(0).integers(run.vocab_size, size=(settings.batch, settings.length))
    reference = run.dense(shape.dense)
    ratios = np.ones(len(models))
    references: list[float] = []
    for group in _groups(models, shape=shape):
        runners: dict[int, Runner] = {-1: reference, **{place: narrow(models[place]) for place in group}}
        after_round = None if run.advance is None else partial(run.advance, steps=len(group))
        timed = time_runners(
            runners,
            ids=ids,
            repeats=repeats or settings.repeats,
            after_round=after_round,
            num_threads=settings.num_threads,
        )
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
