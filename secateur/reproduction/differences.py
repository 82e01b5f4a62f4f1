"""What a rebuild is compared with: packages, environment, files, and what both models answer."""

import importlib.metadata
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.evaluation.findings import same_answer
from secateur.files import sha256_file
from secateur.kinds.registry import kind_named
from secateur.models.card import CARD
from secateur.registry.model_source import kind_of

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;#]+)")


def different_packages(constraints: Path) -> list[str]:
    """Name the pinned packages that are installed in another version; nothing where nothing is pinned."""
    if not constraints.is_file():
        return []
    lines = []
    for line in constraints.read_text(encoding="utf-8").splitlines():
        if pin := _PIN.match(line.strip()):
            try:
                found = importlib.metadata.version(pin[1])
            except importlib.metadata.PackageNotFoundError:
                continue  # an extra that is not needed here
            if found.partition("+")[0] != pin[2].partition("+")[0]:
                lines.append(f"{pin[1]}: {pin[2]} -> {found}")
    return lines


def different_environment(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name what differs between two fingerprints; what an earlier version did not record is not known to differ."""
    return [f"{name}: {was} -> {now.get(name)}" for name, was in sorted(recorded.items()) if was != now.get(name)]


def different_files(checkpoint: Path, files: Mapping[str, str]) -> list[str]:
    """Name the files of a checkpoint that differ from their digests, are missing or were added (but for the card)."""
    found = {
        file.relative_to(checkpoint).as_posix(): sha256_file(file)
        for file in sorted(checkpoint.rglob("*"))
        if file.is_file() and file.name != CARD
    }
    return [name for name in sorted({*files, *found}) if files.get(name) != found.get(name)]


@dataclass(frozen=True)
class Comparison:
    """Two models on the same rows.

    Attributes:
        rows: how many.
        metrics: name -> value of the registered and of the rebuilt model; of generators ``char_loss``, nats per
            character.
        agreement: share of rows on which both say the same label, or for which generators have the same loss per
            character within 0.01 nats.
    """

    rows: int
    metrics: Mapping[str, tuple[float, float]]
    agreement: float

    def within(self, tolerance: float) -> bool:
        """Tell whether no metric differs by more than ``tolerance``."""
        return all(abs(one - other) <= tolerance for one, other in self.metrics.values())


def compare_models(registered: Path, rebuilt: Path, *, test: Path, labels: Path) -> Comparison:
    """Let two checkpoints answer the test rows.

    Args:
        registered: a verified folder.
        rebuilt: another one.
        test: Parquet with ``text`` and ``label``.
        labels: JSON list of names in index order.
    """
    kind = kind_named(kind_of(registered))
    one, other = (kind.answer_again(folder, test=test, labels=labels) for folder in (registered, rebuilt))
    return Comparison(
        rows=len(one.per_row),
        metrics={name: (one.values[name], other.values[name]) for name in one.values},
        agreement=sum(map(same_answer, one.per_row, other.per_row)) / len(one.per_row),
    )
