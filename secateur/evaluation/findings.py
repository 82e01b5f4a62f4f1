"""What the stage ``evaluate`` gives a kind of task, and what it gets back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from secateur.config.evaluate import EvaluateSection
from secateur.config.run import RunSection
from secateur.files import replacing
from secateur.inference.device import find_device

_ROUNDING = 0.01
"""Nats per character, or points of a number, that another environment may move an answer by."""


@dataclass(frozen=True)
class Given:
    """Models, and the rows that they are scored on.

    Attributes:
        folders: model -> its checkpoint, the dense one first, under the name ``baseline``.
        inputs: ``test`` (parquet), ``labels`` (JSON), those of ``Kind.evaluated_with``, perhaps ``judge``.
        run: seed, threads, precision, and the device on which PyTorch models are scored; deployed forms run on the CPU.
        settings: how models are measured.
        max_length: tokens of a row, at most.
        exports: folder of what is exported on the way.
    """

    folders: Mapping[str, Path]
    inputs: Mapping[str, Path]
    run: RunSection
    settings: EvaluateSection
    max_length: int
    exports: Path

    @property
    def device(self) -> torch.device:
        """Where PyTorch models are scored."""
        return find_device(self.run.device)


@dataclass(frozen=True)
class Findings:
    """What came out.

    Attributes:
        metrics: model -> entry of metrics.json: ``params``, ``nonembedding_params``, ``sparsity``, ``macs``,
            ``bytes``, scores, perhaps each with ``_low`` and ``_high``, and of a round ``accepted``; no times.
            ``deployed_bytes`` and ``deployed_`` with the deciding score are of the form that is deployed, and
            ``deployed_change`` or the score with ``_change`` of a comparison with dense in pairs.
        details: content of details.json.
        predictions: a row per test row.
        plot: entries of ``metrics`` that are drawn against the size.
        baseline: entry ``reference`` of metrics.json, of what is simple and needs no model; None where nobody asked.
    """

    metrics: Mapping[str, Mapping[str, Any]]
    details: Mapping[str, Any]
    predictions: pa.Table
    plot: Sequence[str]
    baseline: Mapping[str, Any] | None = None

    def write_predictions(self, path: Path) -> None:
        """Write them as Parquet; equal ones give equal bytes."""
        with replacing(path) as temporary:
            pq.write_table(self.predictions, temporary, compression="zstd")


@dataclass(frozen=True)
class Answered:
    """A model on test rows once more, to be compared with itself at another time.

    Attributes:
        values: name -> score.
        deciding: the one that counts.
        per_row: what it said of every row: a label, or a number.
        said: the deciding score in words.
    """

    values: Mapping[str, float]
    deciding: str
    per_row: Sequence[str | float]
    said: str

    @property
    def value(self) -> float:
        """The score that counts."""
        return self.values[self.deciding]


def same_answer(one: str | float, other: str | float) -> bool:
    """Tell whether two answers to the same row are one: equal labels, or numbers that differ by rounding alone."""
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return abs(one - other) <= _ROUNDING
