"""One suite for promises of quality: whatever the criterion, a round keeps its promise or tells what it tried."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from secateur.budget.goal import Goal
from secateur.config.prune import Round
from secateur.determinism import fix_randomness
from secateur.pruning.tries import RoundResult, run_round
from secateur.training.validation import validate
from tests.contract.round_cases import OF_STRUCTURES, settings_of
from tests.contract.test_rounds import TRAIN, VALIDATION, dense_model_of

SCORE = validate(dense_model_of(2).model, VALIDATION, batch_size=16, precision="fp32").quality


def promised(case: dict[str, Any], promise: float, *, dense: float = SCORE) -> RoundResult:
    settings = settings_of({"budget": {"max_drop": promise, "price": "macs"}} | case, "structures")
    dense_model = replace(dense_model_of(2), quality=dense)
    fix_randomness(seed=1, num_threads=1)
    return run_round(
        copy.deepcopy(dense_model.model),
        train=TRAIN,
        validation=VALIDATION,
        dense_model=dense_model,
        goal=Goal(max_drop=promise),
        settings=settings,
        round_=Round(prev="baseline"),
        seed=1,
        precision="fp32",
        title="r1",
    )


def check(result: RoundResult, promise: float, *, dense: float = SCORE) -> None:
    outcome, last = result.outcome, result.tries[-1]
    assert last["achieved"] == outcome.achieved
    assert last["accepted"] == outcome.accepted
    assert outcome.achieved["max_drop"] == pytest.approx(dense - outcome.scores.quality)
    found = validate(outcome.model, VALIDATION, batch_size=16, precision="fp32").quality
    assert found == outcome.scores.quality, "the weights that were kept are those that were scored"
    assert outcome.accepted == (found >= dense - promise)
    assert all(entry["achieved"]["macs"] <= entry["target"] + 1e-9 for entry in result.tries)


@pytest.mark.parametrize("name", OF_STRUCTURES)
def test_every_criterion_keeps_a_promise(name: str):
    result = promised({"criterion": name, "multipliers": multipliers(name)}, 0.2)
    check(result, 0.2)
    again = promised({"criterion": name, "multipliers": multipliers(name)}, 0.2)
    assert again.as_card() == result.as_card()
    first, second = (found.outcome.model.state_dict() for found in (result, again))
    assert all(torch.equal(tensor, second[key]) for key, tensor in first.items())


def multipliers(name: str) -> dict[str, float]:
    return {"layers.*.heads": 1.0, "layers.*.ffn": 2.0} if name == "fixed_weight" else {}


@pytest.mark.parametrize(
    "case",
    [
        {"price": "latency"},
        {"price": "params"},
        {"regularizer": "l1"},
        {"regularizer": "l2"},
        {"regrow_fraction": 0.2, "criterion": "gradient"},
        {"action": "suppress", "criterion": "magnitude"},
        {"hidden_size": 12},
        {"num_layers": 1},
        {"recovery.epochs": 0.0},
        {"structures": ["ffn"]},
        {"repair": "least_squares"},
    ],
    ids=lambda case: " ".join(map(str, case)),
)
def test_promises_go_with_everything_that_a_round_may_do(case: dict[str, Any]):
    budget = {"max_drop": 0.3, "price": case.get("price", "macs")}
    asked = {"criterion": "obs", **{key: value for key, value in case.items() if key != "price"}, "budget": budget}
    result = promised(asked, 0.3)
    assert result.outcome.accepted == (result.outcome.achieved["max_drop"] <= 0.3)
    assert 1 <= len(result.tries) <= 3


def test_a_probe_is_short_where_few_rows_make_a_recovery_longer():
    result = promised({"criterion": "obs", "recovery.min_steps": 20}, 0.3)
    length = result.tries[-1]["training"]
    assert (length["steps"], length["min_steps"]) == (20, 20)
    assert result.probes
    assert {probe.epochs for probe in result.probes} == {length["epochs"] / 2}, "half of 20 steps, not 20 of its own"


def test_a_promise_out_of_reach_ends_after_its_tries():
    result = promised({"criterion": "obs"}, 0.01, dense=1.5)
    check(result, 0.01, dense=1.5)
    assert not result.outcome.accepted
    targets = [entry["target"] for entry in result.tries]
    assert targets == sorted(targets)
    assert "less the promise of 0.01)" in str(result.outcome.reason)


def test_a_promise_that_costs_nothing_goes_as_far_as_the_limits():
    result = promised({"criterion": "obs"}, 0.01, dense=0.0)
    assert result.outcome.accepted
    assert result.outcome.achieved["macs"] == pytest.approx(min(e["achieved"]["macs"] for e in result.tries))
    assert result.outcome.achieved["macs"] < 0.35
