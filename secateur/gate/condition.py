"""What the gate judges, and what comes out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

UNKNOWN = "unknown"
"""What was found where nothing could be looked at: a store that does not answer says nothing of a model."""


@dataclass(frozen=True)
class Condition:
    """One condition of the gate.

    Attributes:
        name: what is judged, such as ``quality_floor``.
        asked: what would pass, for people.
        found: what was found, for people.
        passed: whether it did.
        reason: one line.
        values: the numbers behind it, by name.
    """

    name: str
    asked: str
    found: str
    passed: bool
    reason: str
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Answers:
    """One model in its deployed form.

    Attributes:
        predicted: index of the predicted label of every test row, (rows,); -1 = a label that these rows do not have. Of
            several labels per row 0 and 1 for every label, (rows, C).
        bytes: of all files of the folder that is deployed.
        latency_ms: of every timed call, (repeats,), call by call beside those of the other model.
        attacked: attack -> predictions of ``GateRows.attacked_rows`` under it.
    """

    predicted: IntArray
    bytes: int
    latency_ms: Sequence[float]
    attacked: Mapping[str, IntArray] = field(default_factory=dict)


@dataclass(frozen=True)
class GateRows:
    """The rows that are judged on.

    Attributes:
        labels: index of the true label of every test row, (rows,), at least one; or 0 and 1 for every label, (rows, C).
        names: of the labels.
        slices: name -> which rows belong to it, (rows,).
        attacked_rows: which rows were attacked.
        seed: of the bootstrap.
    """

    labels: IntArray
    names: Sequence[str]
    slices: Mapping[str, Mask]
    attacked_rows: IntArray
    seed: int


@dataclass(frozen=True)
class JudgedRows:
    """The test rows of the workspace.

    Attributes:
        texts: clean.
        labels: target of every text, (rows,) or (rows, values): of a label its index, of several 0 and 1 for every
            label; zeros where there are no labels.
        names: of the labels; none in a corpus without.
        md5: of the whole table, as DVC records it.
    """

    texts: Sequence[str]
    labels: npt.NDArray[Any]
    names: tuple[str, ...]
    md5: str

    def take(self, kept: npt.NDArray[np.bool_]) -> "JudgedRows":
        """Return the rows of a mask, (rows,)."""
        texts = [text for text, keep in zip(self.texts, kept, strict=True) if keep]
        return replace(self, texts=texts, labels=self.labels[kept])


def change(before: float, after: float) -> str:
    """Say how a score moved."""
    return f"{'fell' if after < before else 'went'} from {before:.4f} to {after:.4f}"
