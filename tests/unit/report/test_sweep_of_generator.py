"""A sweep of a generator: judged by perplexity in the table, the picture and the registry."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from mlflow import MlflowClient

from secateur.cli.display import sweep_table
from secateur.data.tokens import TokenRows, from_lists
from secateur.pruning.sweep import sweep
from secateur.registry.mlflow_store import ModelRegistry
from secateur.report.sweep_plot import draw_sweep
from secateur.workflow.project import Project
from tests.tiny_models import tiny_generator
from tests.unit.pruning.prune_settings import prune_settings


def _rows(count: int) -> TokenRows:
    draw = np.random.default_rng(count)
    ids = [draw.integers(5, 60, size=draw.integers(5, 14)).tolist() for _ in range(count)]
    return from_lists(ids, labels=np.zeros(count, np.int64), given=())


def test_it_is_drawn_shown_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = sweep(
        tiny_generator("llama"),
        train=_rows(16),
        validation=_rows(8),
        methods=["magnitude"],
        kind="macs",
        fractions=[0.7, 0.01],
        settings=prune_settings(calibration_rows=16, ffn_multiple=8),
        seed=0,
        precision="fp32",
    )
    values = {"kind": "macs", **found.as_dict()}
    assert values["measure"] == "perplexity"
    reached, unreachable = values["points"]
    assert reached["perplexity"] > 0.0
    assert unreachable["error"] is not None

    draw_sweep(values, tmp_path / "sweep.svg")
    drawing = "".join(ElementTree.parse(tmp_path / "sweep.svg").getroot().itertext())
    assert "perplexity on validation" in drawing

    sweep_table(values)
    printed = " ".join(capsys.readouterr().out.split())
    assert "Pareto front of MACs and perplexity" in printed
    assert f"{values['dense']['perplexity']:.4f}" in printed
    assert "not reachable" in printed

    registry = ModelRegistry(Project(tmp_path))
    registry.record_sweep(values, experiment="sweeps", files=[tmp_path / "sweep.svg"])
    client = MlflowClient(registry.uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "sweeps"]
    runs = {run.info.run_name: run.data.metrics for run in client.search_runs([experiment.experiment_id])}
    assert runs["magnitude 0.7"]["perplexity"] == pytest.approx(reached["perplexity"])
    assert "magnitude 0.01" not in runs
