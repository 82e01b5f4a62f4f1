"""The form of a model that goes into production: its folder, its size on disk, its answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from secateur.config.base import Runtime
from secateur.data.tokens import TokenRows
from secateur.data.windows import mean_of
from secateur.inference.runners import Runner, exported_folder, open_folder, rows_per_call


@dataclass(frozen=True)
class Deployed:
    """One model in its deployed form, on the test rows.

    Attributes:
        bytes: of all files of the folder that is deployed: model, config, tokenizer, card.
        logits: of the test rows, (rows, C) fp32.
    """

    bytes: int
    logits: Tensor


def evaluate_deployed(
    checkpoint: Path, rows: TokenRows, *, runtime: Runtime, batch_size: int, num_threads: int, workdir: Path
) -> Deployed:
    """Export a checkpoint and run it on all rows.

    As it is served: rows that share a call are of equal length, and those of int8 share none (``rows_per_call``).

    Args:
        checkpoint: a checkpoint folder.
        rows: tokenised with the tokenizer of the checkpoint.
        runtime: the form.
        batch_size: rows per call, at most.
        num_threads: threads of ONNX Runtime.
        workdir: where exports are kept and found again.

    Raises:
        CheckpointError: the folder is no checkpoint, or damaged.
        ModelError: the export does not agree with the checkpoint.
    """
    folder = exported_folder(checkpoint, runtime=runtime, workdir=workdir)
    runner = open_folder(folder, runtime=runtime, num_threads=num_threads)
    logits = answers(runner, rows, batch_size=rows_per_call(runtime, batch_size=batch_size))
    return Deployed(bytes=folder_bytes(folder), logits=logits)


def answers(runner: Runner, rows: TokenRows, *, batch_size: int) -> Tensor:
    """Return the logits of all rows in the order of the rows, (rows, C) fp32."""
    collected: Tensor | None = None
    for index in _equally_long(np.minimum(rows.lengths, rows.longest), batch_size=batch_size):
        pieces, row_of = rows.pieces(index)
        types = rows.types(index, width=len(pieces[0]))
        calls = [np.stack(pieces[first : first + batch_size]) for first in range(0, len(pieces), batch_size)]
        found = [runner(ids.astype(np.int64), np.ones_like(ids, np.int64), types) for ids in calls]
        logits = torch.from_numpy(mean_of(np.concatenate(found), row_of))
        if collected is None:
            collected = torch.zeros(len(rows), logits.shape[-1])
        collected[torch.from_numpy(index)] = logits
    assert collected is not None  # token files hold at least one row
    return collected


def folder_bytes(folder: Path) -> int:
    """Return the sum of the sizes of the files of a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _equally_long(lengths: npt.NDArray[np.int64], *, batch_size: int) -> Iterator[npt.NDArray[np.int64]]:
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        yield from (same[first : first + batch_size] for first in range(0, len(same), batch_size))
