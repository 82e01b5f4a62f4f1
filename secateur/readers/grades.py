"""Grades of a model in the name of its one output, from the lowest to the highest: ``1 < 2 < 3``."""

from collections.abc import Mapping, Sequence

_BELOW = " < "


def joined(grades: Sequence[str]) -> str:
    """Return the name; grades are numbers, so that none holds what stands between them."""
    return _BELOW.join(grades)


def grades_in(id2label: Mapping[int, str]) -> tuple[str, ...]:
    """Return the grades that the names of a model's outputs hold; none where it has other outputs."""
    names = list(id2label.values())
    found = tuple(names[0].split(_BELOW)) if len(names) == 1 else ()
    return found if len(found) > 1 else ()
