"""The training curve: one row per validation pass."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from secateur.config.run import Task
from secateur.files import replacing


@dataclass(frozen=True)
class Pass:
    """What the validation passes of every task have in common.

    Attributes:
        step: optimiser steps so far.
        epoch: passes over the training rows so far.
        train_loss: mean since the pass before, nats per row, of a generator per token; None before the first step.
        learning_rate: of the last step.
        validation_loss: cross-entropy, in the same unit.
    """

    step: int
    epoch: float
    train_loss: float | None
    learning_rate: float
    validation_loss: float

    def summary(self, *, num_steps: int) -> str:
        """Return one line for the log."""
        train = "" if self.train_loss is None else f"train loss {self.train_loss:.4f}, "
        return f"step {self.step}/{num_steps}, {train}validation loss {self.validation_loss:.4f}"


@dataclass(frozen=True)
class HistoryRow(Pass):
    """One validation pass of a classifier.

    Attributes:
        validation_accuracy: in [0, 1].
        validation_macro_f1: in [0, 1].
    """

    validation_accuracy: float
    validation_macro_f1: float

    def summary(self, *, num_steps: int) -> str:
        """Return one line for the log."""
        return (
            f"{super().summary(num_steps=num_steps)}, "
            f"accuracy {self.validation_accuracy:.4f}, macro-F1 {self.validation_macro_f1:.4f}"
        )


@dataclass(frozen=True)
class TextHistoryRow(Pass):
    """One validation pass of a generator.

    Attributes:
        validation_perplexity: per token.
    """

    validation_perplexity: float

    def summary(self, *, num_steps: int) -> str:
        """Return one line for the log."""
        return f"{super().summary(num_steps=num_steps)}, perplexity {self.validation_perplexity:.2f}"


ROWS: Mapping[Task, type[Pass]] = {"classification": HistoryRow, "generation": TextHistoryRow}
"""The columns of a task's curve."""


def write_history(path: Path, history: Sequence[Pass], *, task: Task = "classification") -> None:
    """Write the rows as CSV; floats are written so that they read back as the same number."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column.name for column in fields(ROWS[task])])
        for row in history:
            writer.writerow(["" if value is None else repr(value) for value in asdict(row).values()])
