import copy
import math

import numpy as np
import pytest
import torch

from secateur.budget.latency_table import LatencyTable, shape_of
from secateur.errors import BudgetError, ModelError
from secateur.families import family_of
from secateur.families.structures import Kept, Masks
from secateur.models.surgery import cut_, widths_of
from secateur.pruning.selection import (
    Calibration,
    Dense,
    Ranking,
    Surveyed,
    calibrate,
    calibration_sample,
    linear_prices,
    price_table,
)
from secateur.pruning.state import achieved_fractions
from tests.unit.pruning.prune_settings import prune_settings
from tests.unit.pruning.tiny import tiny_model, tiny_rows

ROWS = tiny_rows(24)
METHODS = ("magnitude", "gradient", "fluctuation", "fisher", "obs")


def calibration(criterion, **changes) -> Calibration:
    loose = {"min_heads": 0, "min_neurons": 0, "ffn_multiple": 4, "repair": "none", "search_trials": 0}
    settings = prune_settings(**{"criterion": criterion, "budget": {"macs": 0.5}, **loose, **changes})
    return Calibration(rows=ROWS, settings=settings, seed=0, precision="fp32")


def dense_of(model) -> Dense:
    table = LatencyTable(
        attention_ms=(0.0, 1.0, 1.5, 1.75, 2.0),  # the first head costs most
        ffn_widths=(0, 24),
        ffn_ms=(0.0, 2.4),
        fixed_ms=0.2,
        dense_ms=9.0,
        settings=prune_settings().latency,
        shape=shape_of(model.config),
        machine={},
    )
    return Dense(model.config, table)


def same_masks(first: Masks, second: Masks) -> bool:
    pairs = zip((*first.heads, *first.ffn), (*second.heads, *second.ffn), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("criterion", METHODS)
def test_one_calibration_serves_every_budget_in_any_order(criterion):
    """Each budget gets what a calibration of its own would give; the calibrated model stays as it is."""
    model = tiny_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    selector = calibrate(model, calibration(criterion), dense=dense_of(model), kept=None)
    for target in (0.3, 0.9, 0.6):
        shared, own = copy.deepcopy(model), copy.deepcopy(model)
        masks = selector.select_(shared, target=target)
        alone = calibrate(model, calibration(criterion), dense=dense_of(model), kept=None)
        assert same_masks(masks, alone.select_(own, target=target))
        assert all(torch.equal(tensor, own.state_dict()[name]) for name, tensor in shared.state_dict().items())
        cut_(shared, masks)
        assert achieved_fractions(shared, dense=dense_of(model))["macs"] <= target < 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("criterion", METHODS)
@pytest.mark.parametrize("kind", ["latency", "macs", "params", "sparsity"])
def test_the_budget_holds_in_its_own_unit(criterion, kind):
    model = tiny_model()
    dense = dense_of(tiny_model())  # a cut writes the new widths into the config of the model
    selector = calibrate(model, calibration(criterion, budget={kind: 0.5}), dense=dense, kept=None)
    cut_(model, selector.select_(model, target=0.5))
    achieved = achieved_fractions(model, dense=dense)
    left = 1 - achieved[kind] if kind == "sparsity" else achieved[kind]
    # The largest step of this model: one head, or the first head of a layer in time.
    assert 0.5 - 0.12 < left <= 0.5 + 1e-9


@pytest.mark.parametrize("criterion", METHODS)
def test_an_unreachable_budget_leaves_the_model_as_it_was(criterion):
    model = tiny_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    selector = calibrate(model, calibration(criterion, min_heads=3, repair="bias"), dense=dense_of(model), kept=None)
    with pytest.raises(
        BudgetError, match=r"prune\.budget\.macs=0\.2 is not reachable: .*min_heads=3.*ask for 0\.\d+ or more"
    ):
        selector.select_(model, target=0.2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("criterion", METHODS)
def test_multipliers_name_dense_units_of_a_model_that_was_cut(criterion):
    model = tiny_model()
    masks = Masks.ones(widths_of(model))
    masks.heads[0][0] = False
    masks.ffn[1][:4] = False
    kept = Kept.all(widths_of(model)).after(masks)
    cut_(model, masks)
    table = {"layers.0.heads.3": math.inf, "layers.1.ffn.23": math.inf, "layers.0.heads.1": 0.0}
    selector = calibrate(model, calibration(criterion, multipliers=table), dense=dense_of(tiny_model()), kept=kept)
    chosen = selector.select_(model, target=0.3)
    left = kept.after(chosen)
    assert 3 in left.heads[0]
    assert 23 in left.ffn[1]
    assert 1 not in left.heads[0]


def test_the_kind_of_the_criterion_decides_who_selects():
    model = tiny_model()
    for criterion in ("magnitude", "obs"):
        found = calibrate(model, calibration(criterion), dense=dense_of(model), kept=None)
        assert isinstance(found, Surveyed if criterion == "obs" else Ranking)


def test_scores_that_are_not_finite_never_reach_the_choice():
    model = tiny_model()
    with torch.no_grad():
        family_of(model).layers(model)[0].attention.query.weight[0, 0] = math.nan
    with pytest.raises(ModelError, match=r"criterion magnitude: .*layers\.0\.heads"):
        calibrate(model, calibration("magnitude"), dense=dense_of(model), kept=None)


@pytest.mark.parametrize("kind", ["macs", "params", "sparsity"])
def test_both_forms_of_the_price_agree_after_a_cut(kind):
    whole, model = tiny_model(layers=3), tiny_model(layers=3)
    masks = Masks.ones(widths_of(model))
    masks.heads[1][:] = False
    masks.ffn[0][5:] = False
    cut_(model, masks)
    settings, dense = calibration("magnitude", budget={kind: 0.5}).settings, Dense(whole.config)
    prices, table = linear_prices(model, settings, dense=dense), price_table(model, settings, dense=dense)
    for widths in (widths_of(model), widths_of(whole)):
        assert table.total(widths) == prices.total(widths)
    assert table.of_dense(dense.widths) == prices.of_dense(dense.widths) == prices.total(dense.widths)


def test_the_sample_is_drawn_by_the_seed_without_replacement_in_order():
    rows = tiny_rows(40)
    drawn = calibration_sample(rows, num_rows=10, seed=3)
    again, other = (calibration_sample(rows, num_rows=10, seed=seed) for seed in (3, 4))
    assert len(drawn) == len(set(drawn.rows.tolist())) == 10
    assert np.array_equal(drawn.rows, np.sort(drawn.rows))
    assert np.array_equal(drawn.rows, again.rows)
    assert not np.array_equal(drawn.rows, other.rows)
    for num_rows in (40, 99):
        assert calibration_sample(rows, num_rows=num_rows, seed=3) is rows


@pytest.mark.parametrize("criterion", ["magnitude", "obs"])
@pytest.mark.parametrize("kind", ["macs", "params", "sparsity"])
def test_a_budget_is_a_fraction_of_the_model_that_was_given(criterion, kind):
    """Somebody's checkpoint may have been pruned before; its config also tells what it was then."""
    model = tiny_model()
    masks = Masks.ones(widths_of(model))
    for mask in (*masks.heads, *masks.ffn):
        mask[::2] = False
    cut_(model, masks)
    dense = Dense(copy.deepcopy(model.config))
    assert dense.widths == widths_of(model)
    whole = dict.fromkeys(("macs", "params"), 1.0) | {"sparsity": 0.0}
    assert achieved_fractions(model, dense=dense) == whole
    selector = calibrate(model, calibration(criterion, budget={kind: 0.5}), dense=dense, kept=None)
    cut_(model, selector.select_(model, target=0.5))
    found = achieved_fractions(model, dense=dense)[kind]
    assert 0.25 < (1 - found if kind == "sparsity" else found) <= 0.5 + 1e-9
