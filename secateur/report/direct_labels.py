"""Direct labels beside points, placed where they cover the least."""

from collections.abc import Sequence
from dataclasses import dataclass
from unicodedata import east_asian_width

import numpy as np
from matplotlib.axes import Axes

from secateur.report.svg import FONT_SIZE

_CHARACTER_WIDTH = 0.6  # of the font size, on average
_WIDE_WIDTH = 1.0  # of Chinese, Japanese and Korean characters
_GAP = 7.0
_SAMPLES = 24

Box = tuple[float, float, float, float]
"""Left, bottom, right, top in display units."""


@dataclass(frozen=True)
class Label:
    """A text that belongs to a point (data coordinates)."""

    text: str
    x: float
    y: float
    colour: str


def segment(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> list[Box]:
    """Sample the line between two points (data coordinates) as boxes that a label should not cover."""
    first, last = (np.asarray(axes.transData.transform(point)) for point in (start, end))
    samples = first + np.linspace(0.0, 1.0, _SAMPLES)[:, None] * (last - first)
    return [(x - 2.0, y - 2.0, x + 2.0, y + 2.0) for x, y in samples.tolist()]


def place_labels(
    axes: Axes, labels: Sequence[Label], obstacles: Sequence[Box], *, font_size: float = FONT_SIZE
) -> None:
    """Write each label at the free side of its point; the limits of the axes must be final.

    Greedy in the given order: right, left, above, below and the diagonals, nearest first, whichever overlaps
    the least with the obstacles, with earlier labels and with what lies outside the axes.
    """
    frame = axes.get_window_extent()
    taken = list(obstacles)
    for label in labels:
        anchor = axes.transData.transform((label.x, label.y))
        width = _width(label.text, font_size)
        boxes = _candidates(float(anchor[0]), float(anchor[1]), width, font_size)
        bounds = (float(frame.x0), float(frame.y0), float(frame.x1) + 10.0, float(frame.y1) + 6.0)
        penalties = [_penalty(box, taken, bounds) + 0.5 * rank for rank, box in enumerate(boxes)]
        box = boxes[int(np.argmin(penalties))]
        taken.append(box)
        x, y = axes.transData.inverted().transform(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
        axes.text(
            x, y, label.text, color=label.colour, ha="center", va="center_baseline", fontsize=font_size,
            zorder=5,
        )  # fmt: skip


def place_headings(axes: Axes, headings: Sequence[Label], *, font_size: float = FONT_SIZE) -> None:
    """Write headings above their places, right-aligned; one that would touch its neighbour moves up a line."""
    taken: list[Box] = []
    for heading in headings:
        right, bottom = (float(value) for value in axes.transData.transform((heading.x, heading.y)))
        width = _width(heading.text, font_size)
        right, bottom = max(right + 6.0, float(axes.get_window_extent().x0) + width), bottom + 5.0
        while any(
            right - width < other[2] + font_size / 2 and other[0] < right and bottom < other[3] for other in taken
        ):
            bottom += 1.3 * font_size
        taken.append((right - width, bottom, right, bottom + font_size))
        x, y = axes.transData.inverted().transform((right, bottom))
        axes.text(x, y, heading.text, color=heading.colour, ha="right", va="bottom", fontsize=font_size,
                  fontweight="bold", clip_on=False)  # fmt: skip


def _width(text: str, font_size: float) -> float:
    wide = sum(east_asian_width(character) in "WF" for character in text)
    return font_size * (_WIDE_WIDTH * wide + _CHARACTER_WIDTH * (len(text) - wide))


def _candidates(x: float, y: float, width: float, height: float) -> list[Box]:
    boxes = []
    for gap in (_GAP, 2.2 * _GAP):
        sides = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
        for across, up in sides:
            centre_x = x + across * (gap + width / 2)
            centre_y = y + up * (gap + height / 2)
            boxes.append((centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2))
    return boxes


def _penalty(box: Box, taken: Sequence[Box], bounds: Box) -> float:
    left, bottom, right, top = box
    outside = (
        max(bounds[0] - left, 0) + max(right - bounds[2], 0) + max(bounds[1] - bottom, 0) + max(top - bounds[3], 0)
    )
    covered = sum(
        max(0.0, min(right, other[2]) - max(left, other[0])) * max(0.0, min(top, other[3]) - max(bottom, other[1]))
        for other in taken
    )
    return 100.0 * outside + covered
