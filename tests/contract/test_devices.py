"""Whole rounds on a device that is not the CPU (``tests/away.py``): all is made there, and comes to the same."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from secateur.data.tokens import from_lists
from secateur.evaluation.attacks.word_swap import embedding_gradient
from secateur.pruning.layers_and_features import reshape_
from secateur.training.batches import batches_of
from secateur.training.objectives import forward, logits_of
from tests.away import AWAY, away
from tests.contract.round_cases import STRUCTURES, WEIGHTS, settings_of
from tests.contract.test_rounds import dense_model_of, run
from tests.tiny_models import tiny_generator
from tests.unit.pruning.tiny import tiny_model, tiny_rows

OF_STRUCTURES = (
    "magnitude repaired by least_squares",
    "gradient with group_lasso",
    "fluctuation-remove",
    "fisher repaired by bias",
    "search",
    "fewer layers and features, hidden states",
)
OF_WEIGHTS = ("gradient-suppress", "sparsegpt 2:4", "wanda with l1", "regrowth")
CASES = {name: (STRUCTURES[name], "structures") for name in OF_STRUCTURES}
CASES |= {f"weights, {name}": (WEIGHTS[name], "weights") for name in OF_WEIGHTS}


@pytest.fixture(autouse=True)
def _elsewhere() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", CASES)
def test_a_round_elsewhere_is_that_of_the_cpu(name: str) -> None:
    case, granularity = CASES[name]
    settings, dense = settings_of(case, granularity), dense_model_of(case.get("layers", 2))
    here = run(copy.deepcopy(dense.model), settings, target=0.7, dense_model=dense)
    with away():
        moved = replace(dense, model=copy.deepcopy(dense.model).to(AWAY))
        there = run(copy.deepcopy(moved.model), settings, target=0.7, dense_model=moved)
        assert {parameter.device for parameter in there.model.parameters()} == {AWAY}
        found = [parameter.detach().cpu() for parameter in there.model.parameters()]
    assert there.state.kept == here.state.kept
    # Kernels differ: attention is fused in another way. A step of AdamW makes as much of a tiny gradient as of a large
    # one, so weights that a regulariser has driven to nothing are no further apart than a few steps.
    assert there.scores.loss == pytest.approx(here.scores.loss, rel=0.02)
    expected: list[Any] = [parameter.detach() for parameter in here.model.parameters()]
    apart = max(float((one - other).abs().max()) for one, other in zip(expected, found, strict=True) if len(one))
    assert apart < (5e-3 if settings.shrinker is None else 0.5)


@pytest.mark.parametrize("tied", [True, False])
def test_a_stream_is_rotated_elsewhere(tied: bool) -> None:
    model = tiny_generator("llama", tied=tied, num_layers=1)
    rows = from_lists([list(range(4, 12))] * 4, labels=np.zeros(4, np.int64), given=())
    (batch,) = batches_of(rows, batch_size=4, pad_token_id=0)
    here = copy.deepcopy(model)
    reshape_(here, rows, num_layers=None, hidden_size=24, precision="fp32")
    expected = forward(here, batch, precision="fp32").detach()
    with away():
        model.to(AWAY)
        reshape_(model, rows, num_layers=None, hidden_size=24, precision="fp32")
        assert {parameter.device for parameter in model.parameters()} == {AWAY}
        found = forward(model, batch.to(AWAY), precision="fp32").detach().cpu()
    # The axes of coordinates that the eight tokens do not have are by chance, those of the others are not.
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=0.01 * float(expected.abs().max()))


def test_scores_and_attacks_come_back_to_the_cpu() -> None:
    model, rows = tiny_model(), tiny_rows(16)
    (batch,) = batches_of(rows, batch_size=16, pad_token_id=0)
    expected = logits_of(model, rows, batch_size=16, precision="fp32")
    gradient = embedding_gradient(model, batch, precision="fp32")
    with away():
        model.to(AWAY)
        found = logits_of(model, rows, batch_size=16, precision="fp32")
        attacked = embedding_gradient(model, batch, precision="fp32")
    assert np.allclose(found.numpy(), expected.numpy(), atol=1e-5)
    assert np.allclose(attacked.numpy(), gradient.numpy(), atol=1e-5)


def test_what_is_left_on_the_cpu_is_found() -> None:
    with away(), pytest.raises(RuntimeError, match="is on the CPU, and another one is not"):
        torch.ones(2, device=AWAY) + torch.ones(2)
