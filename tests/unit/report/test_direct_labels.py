"""Direct labels: beside their point, not over each other."""

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from secateur.report.direct_labels import Label, place_headings, place_labels, segment


@pytest.fixture
def axes():
    drawn = Figure(figsize=(5.7, 4.1), dpi=72).add_subplot()
    drawn.set_xlim(0, 10)
    drawn.set_ylim(0, 10)
    return drawn


def _boxes(axes):
    boxes = []
    for text in axes.texts:
        x, y = axes.transData.transform(text.get_position())
        width = len(text.get_text()) * text.get_fontsize() * 0.6
        boxes.append((x - width / 2, y - text.get_fontsize() / 2, x + width / 2, y + text.get_fontsize() / 2))
    return boxes


def test_labels_of_close_points_do_not_touch(axes):
    with mpl.rc_context({"text.parse_math": False}):
        place_labels(axes, [Label(f"r{n}", 4 + 0.3 * n, 5.0, "black") for n in range(5)], [])
    boxes = _boxes(axes)
    for index, first in enumerate(boxes):
        for second in boxes[index + 1 :]:
            apart = first[2] <= second[0] or second[2] <= first[0] or first[3] <= second[1] or second[3] <= first[1]
            assert apart


def test_a_label_leaves_the_side_of_the_line(axes):
    place_labels(axes, [Label("r1", 5.0, 5.0, "black")], segment(axes, (5.0, 5.0), (9.0, 5.0)))
    assert axes.texts[0].get_position()[0] < 5.0


def test_a_label_at_the_edge_stays_inside(axes):
    place_labels(axes, [Label("a long name", 9.9, 5.0, "black")], [])
    assert axes.texts[0].get_position()[0] < 9.9


def test_headings_that_would_touch_are_stacked(axes):
    place_headings(axes, [Label("ONNX int8", 5.0, 8.0, "black"), Label("ONNX", 5.2, 8.0, "black")])
    first, second = (text.get_position()[1] for text in axes.texts)
    assert second > first
