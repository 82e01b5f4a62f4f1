"""On a real accelerator: ``make gpu``. What can be said without one stands in ``test_devices.py``."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from secateur.models.checkpoint import load
from tests.contract.round_cases import STRUCTURES, WEIGHTS, settings_of
from tests.contract.test_rounds import dense_model_of, run
from tests.tasks.stage_chain import RUN, run_baseline, run_evaluate, run_round, write_inputs

pytestmark = pytest.mark.gpu

CUDA = torch.device("cuda")
CASES = {name: (case, "structures") for name, case in STRUCTURES.items()}
CASES |= {f"weights, {name}": (case, "weights") for name, case in WEIGHTS.items()}


@pytest.mark.parametrize("name", CASES)
def test_a_round_runs_and_repeats_its_bits(name: str) -> None:
    case, granularity = CASES[name]
    settings, dense = settings_of(case, granularity), dense_model_of(case.get("layers", 2))
    moved = replace(dense, model=copy.deepcopy(dense.model).to(CUDA))
    first, second = (run(copy.deepcopy(moved.model), settings, target=0.7, dense_model=moved) for _ in range(2))
    assert {parameter.device.type for parameter in first.model.parameters()} == {"cuda"}
    assert first.state.kept == second.state.kept
    pairs = zip(first.model.parameters(), second.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    here = run(copy.deepcopy(dense.model), settings, target=0.7, dense_model=dense)
    assert first.scores.loss == pytest.approx(here.scores.loss, rel=0.1)


def test_stages_leave_checkpoints_that_a_cpu_reads(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    chosen = RUN.model_copy(update={"device": "cuda"})
    run_baseline(tmp_path, run=chosen)
    run_round(tmp_path, "r1", "baseline", run=chosen)
    for name in ("baseline", "r1"):
        card = json.loads((tmp_path / "models" / name / "card.json").read_text())
        assert card["fingerprint"]["device"].startswith("cuda: ")
        assert load(tmp_path / "models" / name).device.type == "cpu"
    run_evaluate(tmp_path, "baseline", "r1", run=chosen)
    assert json.loads((tmp_path / "metrics.json").read_text())["baseline"]["macro_f1"] > 0.5
