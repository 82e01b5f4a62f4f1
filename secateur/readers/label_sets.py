"""Several labels of a row: a set is one string, so that what counts, compares and stores labels need not know of it.

Between its labels stands U+FDD1, which Unicode keeps for the inside of programs. A set without labels is that character
alone, and one of a single label that label. Whoever looks at each label takes a set apart here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

SEPARATOR = "\ufdd1"
NONE = SEPARATOR
"""The set of a row that has no label."""


def as_set(labels: Iterable[str]) -> str:
    """Return a set, each of its labels once and in one order; the separator in a label cannot be read."""
    return SEPARATOR.join(sorted({label.replace(SEPARATOR, "\ufffd") for label in labels})) or NONE


def labels_in(label: str) -> list[str]:
    """Return the labels of a set; of another label it alone."""
    return [one for one in label.split(SEPARATOR) if one] if SEPARATOR in label else [label]


def counted(labels: Iterable[str | None]) -> Counter[str]:
    """Return label -> rows that have it, alone or among others."""
    return Counter(one for label in labels if label is not None for one in labels_in(label))


def renamed(label: str | None, names: Mapping[str, str | None], *, sets: bool) -> str | None:
    """Return a label under its new name, or a set with each of its labels so; None takes it away.

    Args:
        label: None stays.
        names: label -> what it becomes; those that are not there stay.
        sets: labels are sets: one that loses its last label is empty, and not None.
    """
    if label is None or not sets:
        return label if label is None else names.get(label, label)
    found = (names.get(one, one) for one in labels_in(label))
    return as_set(one for one in found if one is not None)


def shown(label: str) -> str:
    """Return a label for people: those of a set beside each other."""
    return " | ".join(labels_in(label)) or "(none)"
