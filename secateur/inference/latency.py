"""Measured latency: one run with models and runtimes in turn, so that a slow minute hits all alike."""

import gc
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from secateur.config.base import Runtime
from secateur.errors import ModelError
from secateur.families import family_of
from secateur.inference.runners import Ids, Runner, open_runner
from secateur.models.construction import read_config
from secateur.models.folders import card_of
from secateur.progress import progress

Key = TypeVar("Key", bound=Hashable)

_WARM_UP_CALLS = 10
_ROUNDS = 20


@dataclass(frozen=True)
class LatencyResult:
    """How long one call takes.

    Attributes:
        checkpoint: the folder, as it was given.
        runtime: what ran it.
        median_ms: half of the calls were faster.
        p95_ms: 95 % of the calls were faster.
        speedup: median of the first checkpoint on the same runtime, divided by this median.
    """

    checkpoint: Path
    runtime: Runtime
    median_ms: float
    p95_ms: float
    speedup: float


def bench(
    checkpoints: Sequence[Path],
    *,
    runtimes: Sequence[Runtime],
    batch: int,
    length: int,
    num_threads: int,
    repeats: int,
    workdir: Path,
) -> list[LatencyResult]:
    """Time every checkpoint on every runtime: load all, then calls of all checkpoints in turn, runtime by runtime.

    The garbage collector is off while the clock runs. torch's thread count is set for the duration.

    Args:
        checkpoints: folders; the first one is the reference of ``speedup``.
        runtimes: where to run them.
        batch: rows per call.
        length: tokens per row, all of them real.
        num_threads: threads of the runtime.
        repeats: timed calls per model and runtime.
        workdir: folder for ONNX exports, which are found again by the digest of the weights.

    Returns:
        One result per checkpoint and runtime, checkpoints in the outer order.

    Raises:
        CheckpointError: a folder is no checkpoint.
        ModelError: a model has fewer positions than ``length``, or an export does not agree with its checkpoint.
    """
    for checkpoint in checkpoints:
        card_of(checkpoint)
    configs = [read_config(checkpoint) for checkpoint in checkpoints]
    for checkpoint, config in zip(checkpoints, configs, strict=True):
        limit = family_of(config).max_tokens(config)
        if length > limit:
            raise ModelError(f"length {length} is more than {checkpoint} can read ({limit} tokens)")
    vocab_size = min(config.vocab_size for config in configs)
    ids = np.random.default_rng(0).integers(vocab_size, size=(batch, length), dtype=np.int64)
    with torch_threads(num_threads):
        runners: dict[tuple[Path, Runtime], Runner] = {}
        with progress("loading", total=len(checkpoints) * len(runtimes)) as advance:
            for checkpoint in checkpoints:
                for runtime in runtimes:
                    runners[checkpoint, runtime] = open_runner(
                        checkpoint, runtime=runtime, num_threads=num_threads, workdir=workdir
                    )
                    advance(f"{checkpoint.name}, {runtime}")
        times = _time_by_runtime(runners, ids=ids, repeats=repeats, num_threads=num_threads)
    medians = {key: float(np.median(values)) for key, values in times.items()}
    return [
        LatencyResult(
            checkpoint=checkpoint,
            runtime=runtime,
            median_ms=medians[checkpoint, runtime],
            p95_ms=float(np.percentile(times[checkpoint, runtime], 95)),
            speedup=medians[checkpoints[0], runtime] / medians[checkpoint, runtime],
        )
        for checkpoint, runtime in runners
    ]


def _time_by_runtime(
    runners: Mapping[tuple[Path, Runtime], Runner], *, ids: Ids, repeats: int, num_threads: int
) -> dict[tuple[Path, Runtime], list[float]]:
    """Give every runtime some rounds of all models, over and over, until there are ``repeats`` times of each.

    Nobody serves with two runtimes in turn: between calls of PyTorch, a step of ONNX Runtime that takes 0.50 ms
    measures 0.97 ms, and that of a model half as large 0.41 instead of 0.31 ms.
    """
    times: dict[tuple[Path, Runtime], list[float]] = {key: [] for key in runners}
    starts, runtimes = range(0, repeats, _ROUNDS), dict.fromkeys(runtime for _, runtime in runners)
    with progress("latency", total=len(starts) * len(runtimes), live=False) as advance, no_garbage_collection():
        for start in starts:
            for runtime in runtimes:
                same = {key: runner for key, runner in runners.items() if key[1] == runtime}
                count = min(_ROUNDS, repeats - start)
                for key, found in time_runners(same, ids=ids, repeats=count, num_threads=num_threads).items():
                    times[key] += found
                advance(runtime)
    return times


def time_runners(
    runners: Mapping[Key, Runner],
    *,
    ids: Ids,
    repeats: int,
    num_threads: int,
    after_round: Callable[[], None] | None = None,
) -> dict[Key, list[float]]:
    """Call the runners in turn; return the milliseconds of every call, after the warm-up.

    Each timed call follows one of the same model that is not timed. So its weights lie in the caches as they do
    where one model serves alone, and its time does not depend on which other models are timed beside it.

    Args:
        runners: what to call.
        ids: what to call it with.
        repeats: timed calls of each.
        num_threads: of a call, which decide on the clock: see ``undisturbed_clock``.
        after_round: called when each has had its turn.
    """
    clock = undisturbed_clock(num_threads)
    mask = np.ones_like(ids)
    for runner in runners.values():
        for _ in range(_WARM_UP_CALLS):
            runner(ids, mask)
    times: dict[Key, list[float]] = {key: [] for key in runners}
    with no_garbage_collection():
        for _ in range(repeats):
            for key, runner in runners.items():
                runner(ids, mask)
                start = clock()
                runner(ids, mask)
                times[key].append((clock() - start) / 1e6)
            if after_round is not None:
                after_round()
    return times


def undisturbed_clock(num_threads: int) -> Callable[[], int]:
    """Return a clock, in ns, of calls by so many threads that stands still while other work has the core.

    A single thread is the caller's own, and the kernel knows how long it has run: what the call takes on an idle
    machine, measured on a busy one. By the wall a call of PyTorch that takes 10.1 ms took 22.7 beside a load of nine
    on two cores, and one of ONNX Runtime 1.6 as ever, so that its speed-up looked twice what it is. Several threads
    are timed by the wall.
    """
    return time.thread_time_ns if num_threads == 1 else time.perf_counter_ns


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep the garbage collector off for a while, after a last look, which takes half a second; nested, neither."""
    if not gc.isenabled():
        yield
        return
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def torch_threads(num_threads: int) -> Iterator[None]:
    """Set torch's threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
