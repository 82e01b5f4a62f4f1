"""Tokens per second of whole generations: one interleaved run over all models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from secateur.config.base import Runtime
from secateur.data.documents import given_ids
from secateur.errors import ModelError
from secateur.inference.decoding import Sampling, decode
from secateur.inference.language_model import LanguageModel, open_language_model
from secateur.inference.latency import no_garbage_collection, torch_threads, undisturbed_clock
from secateur.inference.runners import exported_folder
from secateur.models.card import Card
from secateur.models.checkpoint import load_tokenizer


@dataclass(frozen=True)
class Throughput:
    """How fast a model writes.

    Attributes:
        checkpoint: the folder, as it was given.
        batch: texts at once.
        tokens_per_second: of all texts together; the median over the generations.
        speedup: over the first checkpoint at the same batch.
    """

    checkpoint: Path
    batch: int
    tokens_per_second: float
    speedup: float


def throughput(
    checkpoints: Sequence[Path],
    *,
    runtime: Runtime,
    batches: Sequence[int],
    length: int,
    num_threads: int,
    repeats: int,
    workdir: Path,
) -> list[Throughput]:
    """Time greedy generation with the cache from the begin token, in turn; texts go on after their end.

    Every model is called once before the clock runs, and a generation is long enough to warm its own caches. The
    garbage collector is off meanwhile; torch's thread count is set for the duration.

    Args:
        checkpoints: of generators; the first is the reference of ``speedup``.
        runtime: what writes.
        batches: texts at once.
        length: tokens per text.
        num_threads: of the runtime.
        repeats: timed generations per model and batch.
        workdir: where exports are kept and found again.

    Returns:
        One result per checkpoint and batch, checkpoints in the outer order.

    Raises:
        CheckpointError: a folder is no checkpoint.
        ModelError: ``length`` does not fit into a model's context, or an export does not agree with its checkpoint.
    """
    models: dict[Path, LanguageModel] = {}
    begins: dict[Path, tuple[int, ...]] = {}
    for checkpoint in checkpoints:
        context = Card.read(checkpoint).require_max_length()
        if length >= context:
            raise ModelError(f"length {length} does not fit into the context of {checkpoint} ({context} tokens)")
        folder = exported_folder(checkpoint, runtime=runtime, workdir=workdir)
        models[checkpoint] = open_language_model(folder, runtime=runtime, num_threads=num_threads)
        begins[checkpoint] = given_ids(load_tokenizer(checkpoint), controls={})
    with torch_threads(num_threads), no_garbage_collection():
        times = _times(models, begins, batches=batches, length=length, repeats=repeats, num_threads=num_threads)
    rates = {
        (checkpoint, batch): batch * length / float(np.median(times[checkpoint, batch]))
        for checkpoint in checkpoints
        for batch in batches
    }
    return [
        Throughput(checkpoint, batch, tokens_per_second=rate, speedup=rate / rates[checkpoints[0], batch])
        for (checkpoint, batch), rate in rates.items()
    ]


def _times(
    models: Mapping[Path, LanguageModel],
    begins: Mapping[Path, tuple[int, ...]],
    *,
    batches: Sequence[int],
    length: int,
    repeats: int,
    num_threads: int,
) -> dict[tuple[Path, int], list[float]]:
    """Return the seconds of every generation."""
    clock = undisturbed_clock(num_threads)
    times: dict[tuple[Path, int], list[float]] = {(path, batch): [] for path in models for batch in batches}
    for repeat in range(repeats + 1):
        for (path, batch), seconds in times.items():
            prompts = torch.tensor([begins[path]] * batch)
            start = clock()
            decode(models[path], prompts, sampling=Sampling(length), end=None)
            if repeat:
                seconds.append((clock() - start) / 1e9)
    return times
