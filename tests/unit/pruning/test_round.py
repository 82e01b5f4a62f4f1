import copy
from dataclasses import replace

import pytest
import torch

from secateur.config.prune import Round
from secateur.determinism import fix_randomness
from secateur.errors import BudgetError
from secateur.families.structures import Kept, Masks
from secateur.models.surgery import cut_, widths_of
from secateur.pruning.round import Outcome, below_floor, overridden, prune_
from secateur.pruning.selection import Dense
from secateur.pruning.state import State, achieved_fractions
from secateur.pruning.training import DenseModel
from secateur.pruning.weights.matrices import WeightMasks, prunable
from secateur.quality import MACRO_F1
from secateur.training.objectives import logits_of
from secateur.training.schedule import Length
from secateur.training.validation import Scores
from tests.unit.pruning.prune_settings import prune_settings
from tests.unit.pruning.tiny import tiny_model, tiny_rows

TRAIN, VALIDATION = tiny_rows(32), tiny_rows(16, seed=1)
DENSE = tiny_model()
HALF = Masks(
    heads=(torch.tensor([True, False, True, False]),) * 2,
    ffn=(torch.tensor([True, False] * 12),) * 2,
)


def test_a_round_may_train_differently():
    recovery = prune_settings().recovery
    assert overridden(recovery, Round(prev="baseline")) == recovery
    own = overridden(recovery, Round(prev="baseline", epochs=0.0, learning_rate=3e-5))
    assert (own.epochs, own.learning_rate) == (0.0, 3e-5)
    assert own.model_copy(update={"epochs": recovery.epochs, "learning_rate": recovery.learning_rate}) == recovery


def test_the_floor_holds_when_it_is_met_exactly():
    assert below_floor(0.75, dense=0.875, max_drop=0.125) is None
    reason = below_floor(0.7499, dense=0.875, max_drop=0.125)
    assert reason == (
        "validation macro-F1 0.7499 is below the floor of 0.7500 (dense 0.8750 less prune.max_drop 0.125)"
    )


def test_half_of_all_units_is_half_of_the_work_and_of_the_weights():
    model = copy.deepcopy(DENSE)
    cut_(model, HALF)
    found = achieved_fractions(model, dense=Dense(DENSE.config))
    assert found["macs"] == 0.5
    assert found["sparsity"] == 0.5
    # 2 layers of 4 heads (4*16*4 weights and 12 biases), 24 neurons (32 and 1), 6*16; head of 16*16+16 and 16*3+3
    fixed = 2 * 96 + 272 + 51
    units = 2 * (4 * 268 + 24 * 33)
    assert found["params"] == pytest.approx((fixed + units / 2) / (fixed + units))
    assert set(found) == {"macs", "params", "sparsity"}


def test_what_is_suppressed_counts_in_sparsity_alone():
    state = replace(State.dense(widths_of(DENSE)), suppressed=HALF)
    found = achieved_fractions(DENSE, dense=Dense(DENSE.config), state=state)
    assert found == {"macs": 1.0, "params": 1.0, "sparsity": 0.5}


def test_single_weights_count_in_sparsity_alone():
    masks = WeightMasks(
        {name: torch.zeros_like(linear.weight, dtype=torch.bool) for name, linear in prunable(DENSE).items()}
    )
    for mask in masks.matrices.values():
        mask[: len(mask) // 4] = True
    state = replace(State.dense(widths_of(DENSE)), weights=masks)
    assert achieved_fractions(DENSE, dense=Dense(DENSE.config), state=state) == {
        "macs": 1.0,
        "params": 1.0,
        "sparsity": 0.75,
    }


def test_what_was_tried_stands_as_plain_values():
    outcome = Outcome(
        model=DENSE,
        state=State.dense(widths_of(DENSE)),
        accepted=False,
        reason="below",
        achieved={"macs": 1.0},
        scores=Scores(MACRO_F1, loss=0.5, values={"accuracy": 0.75, "macro_f1": 0.7}),
        robust=0.25,
        history=(),
        length=Length(asked_epochs=1.0, min_steps=0, epochs=1.0, steps=10),
    )
    metrics = {"validation_loss": 0.5, "validation_accuracy": 0.75, "validation_macro_f1": 0.7}
    assert outcome.metrics() == metrics | {"validation_robust_macro_f1": 0.25}
    assert replace(outcome, robust=None).metrics() == metrics
    widths = {"heads": [4, 4], "ffn": [24, 24], "head_dim": 4}
    training = {"asked_epochs": 1.0, "min_steps": 0, "epochs": 1.0, "steps": 10}
    assert outcome.tried() == {
        "widths": widths, "achieved": {"macs": 1.0}, "metrics": outcome.metrics(), "training": training,
    }  # fmt: skip


def run(model, *, target, state=None, round_=None, **changes) -> Outcome:
    quiet = prune_settings().recovery.model_copy(update={"epochs": 0.0})
    loose = {
        "min_heads": 0,
        "min_neurons": 0,
        "ffn_multiple": 1,
        "repair": "none",
        "search_trials": 0,
        "max_drop": 0.99,
    }
    given = {"criterion": "magnitude", "budget": {"sparsity": 0.5}, "recovery": quiet, **loose, **changes}
    fix_randomness(seed=0, num_threads=1)
    return prune_(
        model,
        train=TRAIN,
        validation=VALIDATION,
        dense_model=DenseModel(
            model=DENSE, quality=0.5, logits=logits_of(DENSE, TRAIN, batch_size=16, precision="fp32")
        ),
        target=target,
        settings=prune_settings(**given),
        round_=round_ or Round(prev="baseline"),
        seed=0,
        precision="fp32",
        title="test",
        state=state,
    )


def test_a_round_that_leaves_everything_changes_no_bit():
    for changes in ({}, {"action": "suppress"}, {"granularity": "weights"}, {"repair": "least_squares"}):
        model = copy.deepcopy(DENSE)
        outcome = run(model, target=1.0, budget={"sparsity": 0.0}, **changes)
        expected = DENSE.state_dict()
        if changes.get("repair") is None:
            assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items()), changes
        lost = outcome.achieved["max_drop"]
        assert outcome.achieved == {"macs": 1.0, "params": 1.0, "sparsity": 0.0, "max_drop": lost}
        assert outcome.state.kept == Kept.all(widths_of(DENSE))


def test_the_action_of_a_round_comes_before_that_of_the_section():
    outcome = run(copy.deepcopy(DENSE), target=0.5, action="suppress", round_=Round(prev="baseline", action="remove"))
    assert outcome.state.suppressed is None
    assert outcome.achieved["macs"] < 0.6
    outcome = run(copy.deepcopy(DENSE), target=0.5, round_=Round(prev="baseline", action="suppress"))
    assert outcome.state.suppressed is not None
    assert outcome.achieved["macs"] == 1.0


def test_more_goes_when_some_of_it_returns():
    for returning in (0.0, 0.25):
        outcome = run(copy.deepcopy(DENSE), target=0.5, criterion="gradient", regrow_fraction=returning)
        assert 0.5 <= outcome.achieved["sparsity"] < 0.6
        assert tuple(map(len, outcome.state.kept.heads)) == widths_of(outcome.model).heads


def test_regrowth_that_a_budget_has_no_room_for_is_refused():
    with pytest.raises(
        BudgetError, match=r"prune\.regrow_fraction=0\.6 brings back .* ask for a regrow_fraction below 0\.5"
    ):
        run(copy.deepcopy(DENSE), target=0.5, regrow_fraction=0.6)


def test_layers_and_features_that_went_keep_their_dense_numbers():
    dense = tiny_model(layers=3)
    dense_model = DenseModel(model=dense, quality=0.5, logits=torch.zeros(len(TRAIN), 3))
    quiet = prune_settings().recovery.model_copy(update={"epochs": 0.0})
    model, state = copy.deepcopy(dense), None
    kept, features = (0, 1, 2), tuple(range(16))
    for num_layers, hidden_size in ((2, 12), (1, 8)):
        settings = prune_settings(
            criterion="magnitude", num_layers=num_layers, hidden_size=hidden_size, recovery=quiet, max_drop=0.99,
            budget={"macs": 0.5}, min_heads=0, min_neurons=0, ffn_multiple=1, repair="none", search_trials=0,
        )  # fmt: skip
        outcome = prune_(
            model, train=TRAIN, validation=VALIDATION, dense_model=dense_model, target=0.5, settings=settings,
            round_=Round(prev="baseline"), seed=0, precision="fp32", title="test", state=state,
        )  # fmt: skip
        model, state = outcome.model, outcome.state
        assert state.features is not None
        assert set(state.kept.layers) <= set(kept)
        assert set(state.features) <= set(features)
        assert (len(state.kept.layers), len(state.features)) == (num_layers, hidden_size)
        kept, features = state.kept.layers, state.features
        embeddings = dense.get_input_embeddings().weight[:, list(features)]
        assert torch.equal(model.get_input_embeddings().weight, embeddings)
