"""Numbers on the page: units, decimals, signs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.report import formats


@pytest.mark.parametrize(
    ("values", "suffix", "shown"),
    [
        ([22_713_216, 4_100_000], "", ["22.7", "4.1"]),
        ([340_000_000.0, 8_000_000.0], "", ["340", "8"]),
        ([1_300_000_000], "", ["1.30"]),
        ([812, 4], "", ["812", "4"]),
        ([90_200_000], "B", ["90.2"]),
        ([], "B", []),
    ],
)
def test_one_unit_for_a_column(values, suffix, shown):
    unit = formats.unit_for(values, suffix)
    assert [unit.format(value) for value in values] == shown


@given(st.lists(st.floats(0, 1e12), min_size=1))
def test_numbers_of_a_column_have_the_same_decimals(values):
    unit = formats.unit_for(values)
    assert len({len(unit.format(value).partition(".")[2]) for value in values}) == 1


@pytest.mark.parametrize(
    ("fraction", "decimals", "shown"),
    [(0.384, 0, "38 %"), (0.0, 1, "0.0 %"), (0.0001, 1, "< 0.1 %"), (0.001, 0, "< 1 %"), (1.0, 0, "100 %")],
)
def test_percent(fraction, decimals, shown):
    assert formats.percent(fraction, decimals).replace("\u00a0", " ") == shown


@pytest.mark.parametrize(("value", "shown"), [(-0.003, "\u22120.3"), (0.012, "+1.2"), (0.0004, "±0.0"), (-0.0, "±0.0")])
def test_points_have_a_sign(value, shown):
    assert formats.points(value) == shown


def test_the_rest():
    assert formats.count(38159) == "38\u202f159"
    assert formats.times(2.304) == "2.3×"
    assert formats.times(12.6) == "13×"
    assert formats.unit_for_ms([10.83, 2.5]).with_symbol(2.5) == "2.5\u00a0ms"
    assert formats.unit_for([500]).with_symbol(500) == "500"
    assert formats.runtime("onnx-int8") == "ONNX int8"
    assert formats.runtime("other") == "other"
