"""One suite for all criteria of single weights: being registered is being tested."""

import pytest
import torch

from secateur.config.criteria import CRITERIA
from secateur.errors import ModelError
from secateur.evaluation.compression import stored_size
from secateur.models.checkpoint import load, save
from secateur.pruning.weights.application import prune_weights_
from secateur.pruning.weights.matrices import prunable
from secateur.training.batches import batches_of
from tests.contract.criterion_variants import OF_WEIGHTS, variants
from tests.tiny_models import CLASSIFIER_TYPES
from tests.tiny_models import tiny_model as tiny_model_of
from tests.unit.pruning.tiny import tiny_model, tiny_rows
from tests.unit.pruning.weights.settings import weight_settings

ROWS = tiny_rows(24)
VARIANTS = variants(OF_WEIGHTS)
EVERY = pytest.mark.parametrize("name", OF_WEIGHTS)


def settings_of(name, **changes):
    multipliers = {"layers.*": 1.0} if "multipliers" in CRITERIA[name].needs else {}
    return weight_settings(name, **{"multipliers": multipliers, **changes})


def score(title, model):
    (name, settings), batches = VARIANTS[title], batches_of(ROWS, batch_size=8, pad_token_id=0)
    weights = CRITERIA[name].weights
    assert weights is not None
    return weights.score(model, batches, precision="fp32", settings=settings)


def prune_(name, model, sparsity, *, already=None, **changes):
    settings = settings_of(name, **changes)
    return prune_weights_(model, rows=ROWS, sparsity=sparsity, settings=settings, precision="fp32", already=already)


@pytest.mark.parametrize("title", VARIANTS)
def test_one_finite_score_per_weight(title):
    model = tiny_model()
    scores = score(title, model)
    assert {key: tuple(values.shape) for key, values in scores.items()} == {
        key: tuple(linear.weight.shape) for key, linear in prunable(model).items()
    }
    for values in scores.values():
        assert values.dtype == torch.float32
        assert not values.requires_grad
        assert bool(values.isfinite().all())
        assert bool((values >= 0).all())


@EVERY
def test_scoring_leaves_the_model_as_it_was(name):
    model = tiny_model()
    flags = [parameter.requires_grad for parameter in model.parameters()]
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    score(name, model)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_pre_hooks for module in model.modules())


@EVERY
def test_same_model_same_weights_go(name):
    first, again = tiny_model(), tiny_model()
    one, other = prune_(name, first, 0.5), prune_(name, again, 0.5)
    assert all(torch.equal(one.matrices[key], other.matrices[key]) for key in one.matrices)
    assert all(map(torch.equal, first.state_dict().values(), again.state_dict().values()))


@EVERY
@pytest.mark.parametrize("sparsity", [0.0, 1 / 3, 0.5, 0.97])
def test_exactly_the_asked_count_goes(name, sparsity):
    model = tiny_model()
    masks = prune_(name, model, sparsity)
    assert masks.num_removed == round(sparsity * masks.num_weights)
    for key, linear in prunable(model).items():
        assert torch.equal(linear.weight != 0, masks.matrices[key])
    assert stored_size(model).sparsity == pytest.approx(masks.num_removed / masks.num_weights)


@EVERY
def test_nothing_but_the_projections_changes_and_at_zero_nothing_does(name):
    model = tiny_model()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    prune_(name, model, 0.0)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    prune_(name, model, 0.5)
    touched = {id(linear.weight) for linear in prunable(model).values()}
    for key, parameter in model.named_parameters():
        assert torch.equal(parameter, before[key]) == (id(parameter) not in touched), key


@EVERY
def test_a_later_round_keeps_what_is_gone(name):
    model = tiny_model()
    first = prune_(name, model, 0.3)
    second = prune_(name, model, 0.6, already=first)
    assert second.num_removed == round(0.6 * second.num_weights)
    assert all(not bool((second.matrices[key] & ~mask).any()) for key, mask in first.matrices.items())
    less = prune_(name, model, 0.2, already=second)  # than is gone already
    assert less.num_removed == second.num_removed


@EVERY
@pytest.mark.parametrize(("pattern", "stay", "group"), [("2:4", 2, 4), ("4:8", 4, 8)])
def test_a_pattern_holds_in_every_group(name, pattern, stay, group):
    model = tiny_model()
    masks = prune_(name, model, 0.5, pattern=pattern)
    assert masks.sparsity == 0.5
    for key, linear in prunable(model).items():
        groups = (linear.weight != 0).view(len(linear.weight), -1, group).sum(dim=2)
        assert bool((groups == stay).all()), key


@EVERY
def test_suppressed_weights_are_divided_and_not_zero(name):
    model = tiny_model()
    before = {key: linear.weight.detach().clone() for key, linear in prunable(model).items()}
    masks = prune_(name, model, 0.5, action="suppress")
    assert masks.sparsity == 0.5
    assert stored_size(model).sparsity == 0.0
    if CRITERIA[name].weights.solver is not None:
        return  # it moves what stays, and divides what it has moved
    for key, linear in prunable(model).items():
        expected = torch.where(masks.matrices[key], before[key], before[key] / 10_000)
        assert torch.equal(linear.weight, expected), key


@EVERY
@pytest.mark.parametrize("family", CLASSIFIER_TYPES)
def test_every_family_ends_with_a_checkpoint_that_reloads(name, family, tmp_path):
    model = tiny_model_of(family)
    prune_(name, model, 0.5)
    save(model, None, tmp_path / "out", card={}, check_reload=False)
    loaded = load(tmp_path / "out")
    assert stored_size(loaded).sparsity == 0.5
    assert all(map(torch.equal, loaded.state_dict().values(), model.state_dict().values()))


@pytest.mark.parametrize("name", [name for name in OF_WEIGHTS if not CRITERIA[name].is_blind])
def test_a_weight_that_is_not_a_number_is_named(name):
    model = tiny_model()
    linear = prunable(model)["layers.1.ffn.up"]
    with torch.no_grad():
        linear.weight[0, 0] = torch.nan
    with pytest.raises(ModelError, match=r"layers\.\d\.\w+\.\w+ .*not finite.*(NaN|round before)"):
        prune_(name, model, 0.5)
