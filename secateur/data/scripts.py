"""Which script texts are written in, by the Unicode ranges of their letters."""

from collections.abc import Iterable
from typing import Literal

import numpy as np

Script = Literal[
    "Latin", "Greek", "Cyrillic", "Hebrew", "Arabic", "Devanagari", "Thai", "Hangul", "Chinese or Japanese", "other"
]

_RANGES: tuple[tuple[int, int, Script], ...] = (
    (0x0041, 0x005A, "Latin"),
    (0x0061, 0x007A, "Latin"),
    (0x00C0, 0x024F, "Latin"),
    (0x0370, 0x03FF, "Greek"),
    (0x0400, 0x052F, "Cyrillic"),
    (0x0590, 0x05FF, "Hebrew"),
    (0x0600, 0x06FF, "Arabic"),
    (0x0750, 0x077F, "Arabic"),
    (0x0900, 0x097F, "Devanagari"),
    (0x0E00, 0x0E7F, "Thai"),
    (0x1100, 0x11FF, "Hangul"),
    (0x1E00, 0x1EFF, "Latin"),
    (0x1F00, 0x1FFF, "Greek"),
    (0x3040, 0x30FF, "Chinese or Japanese"),
    (0x3400, 0x4DBF, "Chinese or Japanese"),
    (0x4E00, 0x9FFF, "Chinese or Japanese"),
    (0xAC00, 0xD7A3, "Hangul"),
    (0xF900, 0xFAFF, "Chinese or Japanese"),
    (0x20000, 0x3134F, "Chinese or Japanese"),
)
_STARTS = np.array([start for start, _, _ in _RANGES])
_ENDS = np.array([end for _, end, _ in _RANGES])
_CHARS_PER_TEXT = 500
_LETTERS_PER_CHARACTER = 3
"""A Chinese character says about as much as three letters, so that names in Latin letters do not outvote a text."""


def script_of(texts: Iterable[str]) -> Script:
    """Return the script that most of the letters belong to; ``other`` where no known one has a letter."""
    joined = "".join(text[:_CHARS_PER_TEXT] for text in texts)
    points = np.frombuffer(joined.encode("utf-32-le", "replace"), np.uint32)
    place = np.searchsorted(_STARTS, points, side="right") - 1
    inside = (place >= 0) & (points <= _ENDS[place])
    counts = np.bincount(place[inside], minlength=len(_RANGES))
    votes: dict[Script, int] = {}
    for (_, _, script), count in zip(_RANGES, counts.tolist(), strict=True):
        weight = _LETTERS_PER_CHARACTER if script in ("Chinese or Japanese", "Hangul") else 1
        votes[script] = votes.get(script, 0) + weight * count
    best = max(votes, key=lambda script: votes[script])
    return best if votes[best] else "other"
