"""What stands between the labels of a cell."""

import pytest

from secateur.evaluation.set_rows import separator_of


@pytest.mark.parametrize(
    "labels", [["a", "b"], ["a|b", "c"], ["a|b", "c;d", "e,f"], [f"x{chr(code)}" for code in range(0x20, 0x2600)]]
)
def test_a_cell_is_taken_apart_where_it_was_put_together(labels: list[str]) -> None:
    assert separator_of(labels).join(labels).split(separator_of(labels)) == labels
