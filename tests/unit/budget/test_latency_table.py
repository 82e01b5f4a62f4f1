import json
from dataclasses import replace
from pathlib import Path

import pytest

from secateur.budget.latency_table import Check, LatencyTable, shape_of
from secateur.config.prune import LatencyBudget
from secateur.errors import ProjectError
from secateur.families.structures import Widths
from tests.tiny_models import tiny_config

SETTINGS = LatencyBudget(runtime="onnx", batch=1, length=8, num_threads=1, repeats=3)
SHAPE = shape_of(tiny_config("bert", num_layers=2))
TABLE = LatencyTable(
    attention_ms=(0.5, 1.0, 1.5, 2.0, 2.5),
    ffn_widths=(0, 16, 24),
    ffn_ms=(0.25, 1.0, 2.0),
    fixed_ms=0.125,
    dense_ms=9.0,
    settings=SETTINGS,
    shape=SHAPE,
    machine={"cpu": "a CPU", "cores": 2},
    checks=(Check(heads=(1, 2), ffn=(16, 0), predicted_ms=3.875, measured_ms=4.0),),
)


def test_times_of_blocks_add_up_and_widths_between_are_interpolated():
    # 0.125 + (1.0 + 2.5) + (1.0 + 0.25)
    assert TABLE.predict(Widths(heads=(1, 4), ffn=(16, 0), head_dim=8)) == 4.875
    # 20 neurons: half way from 1.0 to 2.0
    assert TABLE.predict(Widths(heads=(0,), ffn=(20,), head_dim=8)) == 0.125 + 0.5 + 1.5
    every = TABLE.every_ffn_ms()
    assert len(every) == 25
    assert (every[0], every[8], every[20], every[24]) == (0.25, 0.625, 1.5, 2.0)


def test_a_file_gives_the_same_table(tmp_path: Path):
    TABLE.write(tmp_path / "table.json")
    assert LatencyTable.read(tmp_path / "table.json") == TABLE
    before = (tmp_path / "table.json").read_bytes()
    LatencyTable.read(tmp_path / "table.json").write(tmp_path / "table.json")
    assert (tmp_path / "table.json").read_bytes() == before


def test_digits_are_rounded(tmp_path: Path):
    replace(TABLE, fixed_ms=0.123456789).write(tmp_path / "table.json")
    assert LatencyTable.read(tmp_path / "table.json").fixed_ms == 0.1235


def test_what_is_no_table_is_said_in_one_line(tmp_path: Path):
    file = tmp_path / "latency_table.json"
    with pytest.raises(ProjectError, match=r"latency_table\.json is missing; `secateur run` measures it"):
        LatencyTable.read(file)
    for content in ("{", "{}", "[1]"):
        file.write_text(content)
        with pytest.raises(ProjectError, match="is not a latency table; delete it"):
            LatencyTable.read(file)


def test_a_table_for_something_else_is_refused(tmp_path: Path):
    TABLE.write(tmp_path / "table.json")
    assert LatencyTable.read_for(tmp_path / "table.json", settings=SETTINGS, shape=SHAPE) == TABLE
    other = SETTINGS.model_copy(update={"batch": 4, "runtime": "torch"})
    with pytest.raises(ProjectError, match=r"with runtime=onnx \(asked: torch\), batch=1 \(asked: 4\); `secateur run`"):
        LatencyTable.read_for(tmp_path / "table.json", settings=other, shape=SHAPE)
    with pytest.raises(ProjectError, match=r"for bert with 2 layers.*the model is bert with 3 layers"):
        LatencyTable.read_for(tmp_path / "table.json", settings=SETTINGS, shape=shape_of(tiny_config("bert")))


def test_the_error_of_a_check_is_relative():
    assert TABLE.worst_error == pytest.approx(0.125 / 4.0)


def test_prices_that_decrease_are_no_table(tmp_path: Path):
    for broken in ({"ffn_ms": [0.25, 2.0, 1.0]}, {"attention_ms": [-0.1, 1, 1, 1, 1]}, {"fixed_ms": -1}):
        (tmp_path / "latency_table.json").write_text(json.dumps(TABLE.as_json() | broken))
        with pytest.raises(ProjectError, match="is not a latency table; delete it"):
            LatencyTable.read(tmp_path / "latency_table.json")


def check_of(predicted_ms: float, measured_ms: float, *, spread: float = 0.0) -> Check:
    return Check(heads=(1, 1), ffn=(0, 0), predicted_ms=predicted_ms, measured_ms=measured_ms, spread=spread)


def test_a_table_is_judged_by_models_that_a_budget_may_choose():
    # A model of almost nothing: what it takes is the call itself, and relative error says little.
    small = check_of(1.0, 0.75)
    assert replace(TABLE, checks=(small, check_of(4.1, 4.0))).worst_error == pytest.approx(0.025)
    assert replace(TABLE, checks=(small, check_of(4.1, 4.0))).doubt is None
    assert replace(TABLE, checks=(small,)).worst_error == pytest.approx(1 / 3), "there is nothing else to judge by"
    wrong = replace(TABLE, checks=(check_of(4.0, 3.0), check_of(5.0, 5.0)))
    assert wrong.doubt == (
        "predicts times within 33.3% and repeats them within 0.0%, where prune.latency.max_error=0.1 asks for 10.0%"
    )
    forgiven = replace(wrong, settings=SETTINGS.model_copy(update={"max_error": 0.34}))
    assert forgiven.doubt is None
    assert "max_error" not in forgiven.as_json()["settings"]
    assert wrong.mismatch(forgiven.settings, SHAPE) is None, "what is forgiven is no other way to measure"
    noisy = replace(TABLE, checks=(check_of(4.0, 4.0, spread=0.2), check_of(5.0, 5.0, spread=0.3)))
    assert "repeats them within 25.0%" in str(noisy.doubt)


def test_a_table_of_version_0_3_0_is_read(tmp_path: Path):
    values = TABLE.as_json()
    for check in values["checks"]:
        del check["spread"]
    (tmp_path / "latency_table.json").write_text(json.dumps(values))
    assert LatencyTable.read(tmp_path / "latency_table.json").spread == 0.0
