import math

import pytest

from secateur.errors import ConfigError
from secateur.pruning.weights.matrices import prunable
from secateur.pruning.weights.multipliers import factors_of
from tests.unit.pruning.tiny import tiny_model

NAMES = list(prunable(tiny_model()))


def test_a_pattern_covers_a_matrix_or_all_below_a_part_of_its_name():
    factors = factors_of(
        {"layers.*.ffn": 2.0, "layers.0.attention.query": math.inf, "layers.1": 0.0, "layers.1.ffn.down": 3.0},
        NAMES,
        complete=False,
    )
    assert factors["layers.0.ffn.up"] == factors["layers.0.ffn.down"] == 2.0
    assert factors["layers.0.attention.query"] == math.inf
    assert factors["layers.0.attention.key"] == 1.0
    assert factors["layers.1.ffn.up"] == factors["layers.1.attention.key"] == 0.0  # the last entry counts
    assert factors["layers.1.ffn.down"] == 3.0


def test_unknown_names_are_listed_in_one_line():
    with pytest.raises(ConfigError) as error:
        factors_of({"layers.7.ffn": 1.0, "layers.*.fnn": 2.0, "layers.0": 1.0}, NAMES, complete=False)
    message = str(error.value)
    assert message.startswith("prune.multipliers names no weights that may go: layers.7.ffn, layers.*.fnn;")
    assert "layers.0.attention.query" in message
    assert "\n" not in message


def test_missing_names_are_listed_where_every_one_is_needed():
    assert factors_of({"layers.0": 1.0}, NAMES, complete=False)["layers.1.ffn.up"] == 1.0
    with pytest.raises(ConfigError, match=r"has no entry for layers\.1\.attention\.query, .* and 2 more;"):
        factors_of({"layers.0": 1.0}, NAMES, complete=True)
