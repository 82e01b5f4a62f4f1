import copy
import math

import pytest
import torch

from secateur.config.training import TrainingSection
from secateur.errors import CheckpointError, ConfigError, ModelError
from secateur.models.checkpoint import load, save
from secateur.pruning.weights import gradient
from secateur.pruning.weights.application import choose_weights, prune_weights_
from secateur.pruning.weights.mask_files import MASKS, masks_beside, read_weight_masks, write_weight_masks
from secateur.pruning.weights.matrices import WeightMasks, prunable, zeros_of
from secateur.pruning.weights.zero_keeper import ZeroKeeper
from secateur.regularizers.l2 import L2
from secateur.training.batches import batches_of
from secateur.training.loop import Plan, train_
from secateur.training.objectives import LabelLoss
from tests.unit.pruning.tiny import tiny_model, tiny_rows
from tests.unit.pruning.weights.settings import weight_settings

ROWS = tiny_rows(24)


def prune_(model, sparsity, *, criterion="magnitude", already=None, **changes):
    settings = weight_settings(criterion, **changes)
    return prune_weights_(model, rows=ROWS, sparsity=sparsity, settings=settings, precision="fp32", already=already)


def weights_of(model):
    return {name: linear.weight.detach().clone() for name, linear in prunable(model).items()}


def trained(model, *, constraint=None):
    settings = TrainingSection(
        epochs=3,
        learning_rate=1e-2,
        batch_size=8,
        weight_decay=0.1,
        warmup_fraction=0.1,
        label_smoothing=0.0,
        train_embeddings=True,
        max_grad_norm=1.0,
    )
    plan = Plan(title="test", settings=settings, seed=0, precision="fp32")
    train_(
        model,
        train=ROWS,
        validation=ROWS,
        objective=LabelLoss(label_smoothing=0.0),
        plan=plan,
        constraint=constraint,
    )
    return model


def same(one: WeightMasks, other: WeightMasks) -> bool:
    return one.matrices.keys() == other.matrices.keys() and all(
        torch.equal(mask, other.matrices[name]) for name, mask in one.matrices.items()
    )


def test_training_with_the_keeper_keeps_exact_zeros_and_without_it_does_not():
    model = tiny_model()
    masks = prune_(model, 0.6)
    before = weights_of(model)
    loose = trained(copy.deepcopy(model))
    trained(model, constraint=ZeroKeeper(model, masks))
    assert same(zeros_of(model), masks)
    assert zeros_of(loose).num_removed < 0.01 * masks.num_weights
    for name, weight in weights_of(model).items():
        moved = weight != before[name]
        assert torch.equal(moved, masks.matrices[name]), name


def test_save_and_load_keep_zeros(tmp_path):
    model = tiny_model()
    masks = prune_(model, 0.6, criterion="wanda")
    save(model, None, tmp_path / "out", card={}, check_reload=False)
    loaded = load(tmp_path / "out")
    assert same(masks_beside(tmp_path / "out", loaded), masks)
    assert prune_(loaded, 0.6, criterion="wanda", already=masks).num_removed == masks.num_removed
    assert same(zeros_of(loaded), masks)


def test_suppressed_weights_are_divided_once_then_rescued_or_removed():
    model = tiny_model()
    dense = weights_of(model)
    first = prune_(model, 0.5, action="suppress", suppress_divisor=100.0)
    again = prune_(model, 0.5, action="suppress", suppress_divisor=100.0, already=first)
    assert same(first, again)
    for name, weight in weights_of(model).items():
        assert torch.equal(weight, torch.where(first.matrices[name], dense[name], dense[name] / 100.0)), name

    linear = prunable(model)["layers.0.ffn.up"]
    place = tuple((~first.matrices["layers.0.ffn.up"]).nonzero()[0].tolist())
    with torch.no_grad():
        linear.weight[place] = 7.0  # what training may do with a weight that it needs
    last = prune_(model, 0.5, action="remove", already=first)
    assert bool(last.matrices["layers.0.ffn.up"][place])
    assert float(linear.weight[place].detach()) == 7.0
    assert zeros_of(model).sparsity == last.sparsity == 0.5


def test_the_keeper_leaves_suppressed_weights_to_training():
    model = tiny_model()
    masks = prune_(model, 0.5, action="suppress")
    before = weights_of(model)
    trained(model, constraint=ZeroKeeper(model, masks))
    assert all(bool((weight != before[name]).all()) for name, weight in weights_of(model).items())


def test_regrown_weights_start_at_zero_where_the_gradient_is_largest_and_are_trained():
    model = tiny_model()
    first = prune_(model, 0.5)
    before = weights_of(model)
    masks = prune_(model, 0.5, already=first, regrow_fraction=0.2)
    returned = {name: masks.matrices[name] & (weight == 0) for name, weight in weights_of(model).items()}
    assert masks.num_removed == first.num_removed
    count = round(0.25 * first.num_removed)  # a fifth of what is removed before the return
    assert sum(int(places.sum()) for places in returned.values()) == count
    assert any(bool((places & ~first.matrices[name]).any()) for name, places in returned.items())
    slopes = gradient.sizes(model, batches_of(ROWS, batch_size=32, pad_token_id=0), precision="fp32")
    for name, weight in weights_of(model).items():
        stayed = masks.matrices[name] & ~returned[name]
        assert torch.equal(weight[stayed], before[name][stayed])
        assert float(slopes[name][returned[name]].min()) >= float(slopes[name][~masks.matrices[name]].max())
    trained(model, constraint=ZeroKeeper(model, masks))
    for name, weight in weights_of(model).items():
        assert torch.equal(weight != 0, masks.matrices[name]), name


def test_the_share_of_the_removed_that_returns_is_the_asked_one():
    model = tiny_model()
    masks = prune_(model, 0.4, regrow_fraction=0.25)
    assert masks.num_removed == round(0.4 * masks.num_weights)
    num_zeros = zeros_of(model).num_removed
    assert num_zeros - masks.num_removed == pytest.approx(0.25 * num_zeros, abs=1)


def test_a_pattern_has_no_room_for_regrowth():
    with pytest.raises(ValueError, match=r"pattern 2:4 leaves no room for what returns; found regrow_fraction=0\.1"):
        prune_(tiny_model(), 0.5, pattern="2:4", regrow_fraction=0.1)


def test_an_odd_width_keeps_a_pattern_and_ends_a_little_below_it():
    model = tiny_model(ffn=22)
    masks = prune_(model, 0.5, pattern="2:4")
    down = masks.matrices["layers.0.ffn.down"]
    assert down.sum(dim=1).unique().tolist() == [12]  # 2 of each of 5 groups, and both of the last two inputs
    assert 0.48 < masks.sparsity < 0.5


def test_multipliers_go_with_any_criterion():
    for criterion in ("magnitude", "wanda", "sparsegpt", "gradient", "random", "fixed_weight"):
        model = tiny_model()
        table = {"layers.*": 1.0, "layers.0.ffn": 0.0, "layers.1.attention.query": math.inf}
        masks = prune_(model, 0.5, criterion=criterion, multipliers=table)
        assert masks.sparsity == 0.5
        assert not bool(masks.matrices["layers.0.ffn.up"].any())
        assert bool(masks.matrices["layers.1.attention.query"].all())


def test_fixed_weight_with_ones_is_magnitude_and_needs_a_complete_table():
    ones = prune_(tiny_model(), 0.5, criterion="fixed_weight", multipliers={"layers.*": 1.0})
    assert same(ones, prune_(tiny_model(), 0.5))
    with pytest.raises(ConfigError, match=r"prune\.multipliers has no entry for layers\.1\.attention"):
        prune_(tiny_model(), 0.5, criterion="fixed_weight", multipliers={"layers.0": 1.0})


@pytest.mark.parametrize("criterion", ["magnitude", "sparsegpt"])
def test_the_smallest_weights_divided_round_after_round(criterion):
    # The literal algorithm of the source documents.
    model, masks = tiny_model(), None
    for sparsity in (0.2, 0.4, 0.6):
        masks = prune_(model, sparsity, criterion=criterion, action="suppress", already=masks)
        assert masks.num_removed == round(sparsity * masks.num_weights)
    assert zeros_of(model).num_removed == 0
    sizes = torch.cat([w.abs()[~masks.matrices[name]] for name, w in weights_of(model).items()])
    assert float(sizes.max()) < 1e-3


def test_growing_decay_shrinks_what_will_go_and_nothing_else():
    model = tiny_model()
    before = weights_of(model)
    settings = weight_settings(
        "l2",
        regularization={"strength": 100.0, "epochs": 1, "learning_rate": 1e-3},
        regularizers={"l2": {"growth": 3.0}},
    )
    masks = choose_weights(model, rows=ROWS, sparsity=0.5, settings=settings, precision="fp32")
    assert same(zeros_of(model), prune_(tiny_model(), 0.0))  # nothing has changed yet
    own, acts = settings.of_shrinker["l2"], L2.on_chosen.weights
    decay = acts(model, training=settings.regularization, settings=own, chosen=masks)
    decay.after_step_(learning_rate=1e-3, progress=0.5)
    for name, weight in weights_of(model).items():
        expected = torch.where(masks.matrices[name], before[name], before[name] * (1 - 1e-3 * 100 * 2.0))
        torch.testing.assert_close(weight, expected, rtol=1e-6, atol=0.0)
        assert torch.equal(weight[masks.matrices[name]], before[name][masks.matrices[name]])


def test_masks_of_another_model_are_refused():
    masks = zeros_of(tiny_model(ffn=16))
    with pytest.raises(
        ModelError, match=r"layers\.0\.ffn\.down is \(16, 24\) in the model and \(16, 16\) in the masks"
    ):
        prune_(tiny_model(), 0.5, already=masks)


def test_masks_on_disk_are_bits_and_come_back(tmp_path):
    model = tiny_model()
    masks = prune_(model, 0.5, action="suppress")
    write_weight_masks(tmp_path / MASKS, masks)
    write_weight_masks(tmp_path / "again.safetensors", masks)
    assert same(read_weight_masks(tmp_path / MASKS), masks)
    assert same(masks_beside(tmp_path, model), masks)
    assert (tmp_path / MASKS).read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    assert (tmp_path / MASKS).stat().st_size < masks.num_weights / 8 + 4096


def test_damaged_masks_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is missing; restore the checkpoint"):
        read_weight_masks(tmp_path / MASKS)
    (tmp_path / MASKS).write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="holds no masks of weights"):
        read_weight_masks(tmp_path / MASKS)
