"""``benchmarks.layer_cost`` on a layer that is no larger than those of other tests."""

import pytest

from benchmarks.layer_cost import Shape, measure, planned
from secateur.second_order import layerwise


def test_a_layer_is_measured_and_the_whole_follows(monkeypatch):
    monkeypatch.setattr(layerwise, "LARGE_BYTES", layerwise.LARGE_BYTES)  # `measure` changes it for its process
    shape = Shape(layers=10, hidden=32, neurons=48, heads=4, key_value_heads=2, words=300)
    found = measure(shape, words=256, threads=1, rows=8)
    assert {"pass", "solve", "fit", "repair", "mb"} == set(found)
    assert found["pass"] > 0.0
    assert found["repair"] > 0.0
    assert set(measure(shape, words=300, threads=1, rows=8)) == {"pass", "mb"}
    layer = {"pass": 2.0, "solve": 3.0, "fit": 1.0, "repair": 1.0, "mb": 500.0}
    whole = planned(shape, layer, {"pass": 2.5, "mb": 600.0})
    assert whole["hours"] == pytest.approx((10 * (131.072 * 3.0 + 4.0) + 131.072 * 0.5) / 3600)
    assert whole["gb"] > 0.5
