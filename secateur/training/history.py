"""The training curve: one row per validation pass."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from secateur.files import replacing
from secateur.kinds.registry import kind_named
from secateur.training.validation import Scores

_FIRST = ("step", "epoch", "train_loss", "learning_rate")


@dataclass(frozen=True)
class Pass:
    """One validation pass.

    Attributes:
        step: optimiser steps so far.
        epoch: passes over the training rows so far.
        train_loss: mean since the pass before, in the unit of ``scores.loss``; None before the first step.
        learning_rate: of the last step.
        scores: on the validation rows.
    """

    step: int
    epoch: float
    train_loss: float | None
    learning_rate: float
    scores: Scores

    def as_dict(self) -> dict[str, float | None]:
        """Return a row of the file."""
        return {name: getattr(self, name) for name in _FIRST} | self.scores.as_metrics()

    def summary(self, *, num_steps: int) -> str:
        """Return one line for the log."""
        train = "" if self.train_loss is None else f"train loss {self.train_loss:.4f}, "
        found = ", ".join(f"{name} {value:.4f}" for name, value in self.scores.values.items())
        return f"step {self.step}/{num_steps}, {train}validation loss {self.scores.loss:.4f}, {found}"


def write_history(path: Path, history: Sequence[Pass], *, kind: str) -> None:
    """Write the rows as CSV, of a kind's model; floats are written so that they read back as the same number."""
    columns = [*_FIRST, *(f"validation_{name}" for name in ("loss", *kind_named(kind).scores))]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in history:
            values = row.as_dict()
            writer.writerow(["" if values[name] is None else repr(values[name]) for name in columns])
