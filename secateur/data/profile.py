"""A table as the conditions on its quality see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secateur.readers.label_sets import counted
from secateur.readers.numbers import numbers_of


@dataclass(frozen=True)
class LabelledTexts:
    """Rows of a source as they came: an empty text or a missing label is None or blank.

    ``labelled`` is False for a corpus without labels, whose rows need a text alone; ``numbered`` is True where labels
    are numbers.
    """

    texts: Sequence[str | None]
    labels: Sequence[str | None]
    labelled: bool = True
    numbered: bool = False

    def usable(self) -> "LabelledTexts":
        """Return the rows that have a text, and a label where the source has labels."""
        pairs = zip(self.texts, self.labels, strict=True)
        kept = [(text, label) for text, label in pairs if _is_usable(text, label, labelled=self.labelled)]
        return LabelledTexts([text for text, _ in kept], [label for _, label in kept], self.labelled, self.numbered)


@dataclass(frozen=True)
class Profile:
    """What the conditions look at.

    Attributes:
        rows: records of the source.
        empty: records without a text or a label.
        duplicates: usable rows whose text occurred before.
        labels: label -> usable rows; empty for a corpus without labels, and where they are numbers.
        numbers: of the usable rows, where labels are.
    """

    rows: int
    empty: int
    duplicates: int
    labels: Mapping[str, int]
    numbers: npt.NDArray[np.float64] | None = None

    @classmethod
    def of(cls, data: LabelledTexts) -> "Profile":
        """Count."""
        usable = data.usable()
        counts = counted(str(label) for label in usable.labels if data.labelled and not data.numbered)
        return cls(
            rows=len(data.texts),
            empty=len(data.texts) - len(usable.texts),
            duplicates=len(usable.texts) - len(set(usable.texts)),
            labels=dict(sorted(counts.items())),
            numbers=numbers_of(usable.labels) if data.numbered else None,
        )

    @property
    def usable(self) -> int:
        """Rows with a text and a label."""
        return self.rows - self.empty

    def shares(self) -> dict[str, float]:
        """Return label -> share of the usable rows."""
        return {name: count / self.usable for name, count in self.labels.items()}


def _is_usable(text: str | None, label: str | None, *, labelled: bool) -> bool:
    return bool(text and text.strip() and (label is not None or not labelled))
