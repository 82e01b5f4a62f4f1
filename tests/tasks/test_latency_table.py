import json
from pathlib import Path
from typing import Any

import pytest

from secateur.budget import latency_measurement
from secateur.budget.latency_table import Check, LatencyTable, shape_of
from secateur.config.prune import LatencyBudget
from secateur.errors import BudgetError, MeasurementError, ModelError, ProjectError
from secateur.inference.machine import describe_machine
from secateur.workflow import latency_table
from secateur.workflow.params import read_config
from secateur.workflow.preflight import check
from secateur.workflow.project import Project
from secateur.workflow.rendering import render
from secateur.workflow.stages import stages
from tests.tiny import write_bert, write_params, write_rows

LATENCY = {"prune.budget": {"latency": 0.5}, "prune.latency.length": 8, "prune.latency.repeats": 3}


def project_in(root: Path, changes: dict[str, Any] | None = None) -> Project:
    write_rows(root / "rows.csv", 20)
    if not (root / "tiny-bert").exists():
        write_bert(root / "tiny-bert")
    write_params(root / "params.yaml", changes)
    return Project(root)


def table_for(config: Any, **settings: Any) -> LatencyTable:
    """2 layers of 4 heads and 64 neurons; 0.1 ms are paid once, 0.05 ms per absent block, 0.5 ms per dense block."""
    hidden_size = settings.pop("hidden_size")
    return LatencyTable(
        attention_ms=(0.05, 0.2, 0.3, 0.4, 0.5),
        ffn_widths=(0, 64),
        ffn_ms=(0.05, 0.5),
        fixed_ms=0.1,
        dense_ms=2.0,
        settings=settings,
        shape=shape_of(config, hidden_size=hidden_size),
        machine=describe_machine(),
    )


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the measurement; return the runtimes it was asked for."""
    calls: list[str] = []

    def measure(config: Any, settings: LatencyBudget, *, hidden_size: int | None) -> LatencyTable:
        calls.append(settings.runtime)
        table = table_for(config, hidden_size=hidden_size)
        return LatencyTable(**{**vars(table), "settings": settings})

    monkeypatch.setattr(latency_measurement, "measure_table", measure)
    return calls


def ensure(project: Project) -> str | None:
    return latency_table.ensure(project, read_config(project))


def test_other_budgets_need_no_table(tmp_path: Path, measured: list[str]):
    project = project_in(tmp_path)
    assert ensure(project) is None
    latency_table.require_present(project, read_config(project))
    assert not measured
    assert "latency_table.json" not in render(project, read_config(project))


def test_measured_once_then_kept(tmp_path: Path, measured: list[str]):
    project = project_in(tmp_path, LATENCY)
    with pytest.raises(ProjectError, match=r"latency=0\.5 needs latency_table\.json.*`secateur run` measures it"):
        latency_table.require_present(project, read_config(project))
    said = ensure(project)
    assert said is not None
    assert "was measured: dense 2.00 ms on onnx" in said
    before = (tmp_path / "latency_table.json").read_bytes()
    assert ensure(project) is None
    assert measured == ["onnx"]
    assert (tmp_path / "latency_table.json").read_bytes() == before
    latency_table.require_present(project, read_config(project))


def test_other_settings_or_another_model_are_measured_again(tmp_path: Path, measured: list[str]):
    project = project_in(tmp_path, LATENCY)
    ensure(project)
    project_in(tmp_path, LATENCY | {"prune.latency.runtime": "onnx-int8"})
    ensure(project)
    project_in(tmp_path, LATENCY | {"prune.latency.runtime": "onnx-int8", "prune.hidden_size": 16})
    ensure(project)
    write_bert(tmp_path / "wide-bert", ffn=128)
    project_in(tmp_path, LATENCY | {"baseline.model": "./wide-bert"})
    ensure(project)
    # A budget of another size needs no other table.
    project_in(tmp_path, LATENCY | {"baseline.model": "./wide-bert", "prune.budget": {"latency": 0.7}})
    ensure(project)
    assert measured == ["onnx", "onnx-int8", "onnx-int8", "onnx"]


def test_another_machine_is_said_and_the_table_kept(tmp_path: Path, measured: list[str]):
    project = project_in(tmp_path, LATENCY)
    ensure(project)
    file = tmp_path / "latency_table.json"
    values = json.loads(file.read_text())
    values["machine"]["cpu"] = "another CPU"
    file.write_text(json.dumps(values))
    said = ensure(project)
    assert said is not None
    assert "on another machine (cpu: another CPU) and is kept" in said
    assert len(measured) == 1


def test_a_doubtful_table_is_not_written_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Version 0.3.0 wrote a table "within 33.5%" and said so in passing."""

    def measure(config: Any, settings: LatencyBudget, *, hidden_size: int | None) -> LatencyTable:
        table = table_for(config, hidden_size=hidden_size)
        wrong = Check(heads=(1, 1), ffn=(0, 0), predicted_ms=1.335, measured_ms=1.0)
        return LatencyTable(**{**vars(table), "settings": settings, "checks": (wrong,)})

    monkeypatch.setattr(latency_measurement, "measure_table", measure)
    project = project_in(tmp_path, LATENCY)
    wanted = r"was measured and not kept: it predicts times within 33\.5%.*-S prune\.latency\.max_error=0\.34 accepts"
    with pytest.raises(MeasurementError, match=wanted):
        ensure(project)
    assert not (tmp_path / "latency_table.json").exists()
    project_in(tmp_path, LATENCY | {"prune.latency.max_error": 0.34})
    assert "predictions are within 33.5% on 1 models" in str(ensure(project))
    assert ensure(project) is None, "what was accepted needs no further word"
    project_in(tmp_path, LATENCY)
    assert "predicts times within 33.5%" in str(ensure(project)), "it is kept, and said"


def test_a_model_that_is_still_on_a_hub_waits_for_ingest(tmp_path: Path, measured: list[str]):
    project = project_in(tmp_path, LATENCY | {"baseline.model": "somebody/some-model"})
    assert "when ingest has fetched the model" in str(ensure(project))
    write_bert(tmp_path / "models" / "base")
    ensure(project)
    assert measured == ["onnx"]


def test_every_round_depends_on_the_table(tmp_path: Path):
    project = project_in(tmp_path, LATENCY)
    config = read_config(project)
    prunes = [stage for stage in stages(config, tmp_path) if stage.name == "prune"]
    assert [stage.inputs.get("latency_table") for stage in prunes] == ["latency_table.json"] * 2
    assert render(project, config).count("- latency_table.json") == 1  # the rounds share one template


def test_a_budget_below_the_table_names_the_nearest_one(tmp_path: Path, measured: list[str]):
    project = project_in(tmp_path, LATENCY | {"prune.min_heads": 1, "prune.min_neurons": 0})
    ensure(project)
    check(project, read_config(project))
    project_in(tmp_path, LATENCY | {"prune.min_heads": 1, "prune.min_neurons": 0, "prune.budget": {"latency": 0.2}})
    # 0.1 + 2 * (0.2 + 0.05) of 2.0 ms
    wanted = r"prune\.budget\.latency=0\.2 is not reachable: .*runs at 0\.3000 of dense on onnx; ask for 0\.3 or more"
    with pytest.raises(BudgetError, match=wanted):
        check(project, read_config(project))
    (tmp_path / "latency_table.json").unlink()
    check(project, read_config(project))  # nothing is known before it was measured


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prune.num_layers": 3}, r"prune\.num_layers=3 is more than .* has \(2 layers\); ask for 2 or less"),
        ({"prune.hidden_size": 33}, r"prune\.hidden_size=33 is more than .* has \(32 features\); ask for 32 or less"),
        (LATENCY | {"prune.latency.length": 65}, r"prune\.latency\.length=65 is more than .*64 or less"),
    ],
)
def test_sizes_that_the_model_does_not_have(tmp_path: Path, changes: dict[str, Any], message: str):
    project = project_in(tmp_path, changes)
    with pytest.raises(ModelError, match=message):
        check(project, read_config(project))


def test_depth_and_hidden_size_count_towards_the_budget(tmp_path: Path):
    tight = {"prune.budget": {"macs": 0.02}, "prune.min_heads": 0, "prune.min_neurons": 64, "prune.ffn_multiple": 1}
    project = project_in(tmp_path, tight)
    # 2 layers of 64 neurons at the least: about half of dense
    with pytest.raises(BudgetError, match=r"prune\.budget\.macs=0\.02 is not reachable"):
        check(project, read_config(project))
    project = project_in(tmp_path, tight | {"prune.num_layers": 1, "prune.hidden_size": 1})
    check(project, read_config(project))


def test_a_round_with_a_budget_of_its_own_is_named(tmp_path: Path):
    rounds = {"r1": {"prev": "baseline", "budget": 0.01}}
    project = project_in(tmp_path, {"prune.rounds": rounds, "prune.schedule.steps": 1})
    with pytest.raises(BudgetError, match=r"prune\.rounds\.r1\.budget=0\.01 is not reachable"):
        check(project, read_config(project))
