"""What regularisers of ours do to weights, against closed forms."""

import copy

import pytest
import torch

from secateur.families.structures import Masks
from secateur.models.groups import with_masks
from secateur.models.surgery import widths_of
from secateur.regularizers.l1 import SoftThreshold
from tests.regularizer_steps import RATE, step_of
from tests.unit.pruning.tiny import tiny_model


def all_groups(model):
    return [groups for groups, _ in with_masks(model, Masks.ones(widths_of(model)))]


def test_the_lasso_of_an_orthonormal_design_is_the_soft_threshold_of_least_squares():
    # 1/2 ||y - X b||^2 + lambda |b|_1 with X^T X = I: b_j = sign(o_j) max(|o_j| - lambda, 0), o = X^T y.
    torch.manual_seed(0)
    design = torch.linalg.qr(torch.randn(30, 12))[0]
    target, strength = torch.randn(30), 0.8
    ols = design.T @ target
    expected = ols.sign() * (ols.abs() - strength).clamp_min(0.0)
    assert 2 < int((expected == 0).sum()) < 12
    weights = torch.randn(12).requires_grad_(True)
    step = SoftThreshold((weights,), strength=strength)
    for _ in range(300):
        (gradient,) = torch.autograd.grad(0.5 * (target - design @ weights).square().sum(), weights)
        with torch.no_grad():
            weights.sub_(RATE * gradient)
        step.after_step_(learning_rate=RATE, progress=0.0)
    torch.testing.assert_close(weights.detach(), expected, rtol=0, atol=1e-5)
    assert torch.equal(weights == 0, expected == 0), "zeros are exact"


@pytest.mark.parametrize("kind", ["l1", "group_lasso"])
def test_proximal_descent_ends_at_the_closed_form_on_a_model(kind):
    # 1/2 ||w - a||^2 for every weight; lambda is chosen so that about half of the entries or groups vanish.
    model = tiny_model()
    target = copy.deepcopy(model)
    strength = 0.2 if kind == "l1" else 0.185
    step = step_of(model, kind, strength=strength)
    for _ in range(150):
        with torch.no_grad():
            for parameter, goal in zip(model.parameters(), target.parameters(), strict=True):
                parameter.sub_(RATE * (parameter - goal))
        step.after_step_(learning_rate=RATE, progress=0.0)
    counts = []
    for groups, goals in zip(all_groups(model), all_groups(target), strict=True):
        norms = goals.sums(torch.Tensor.square).sqrt()
        if kind == "group_lasso":
            factors = (1.0 - strength * groups.num_parameters**0.5 / norms).clamp_min(0.0)
            goals.scale_(factors.detach())
            assert torch.equal(groups.sums(torch.Tensor.abs) == 0, factors == 0), "a group goes as a whole"
            counts.append(factors == 0)
        for parameter, goal in zip(groups.parameters(), goals.parameters(), strict=True):
            if kind == "l1" and goal.dim() > 1:
                goal.data = goal.sign() * (goal.abs() - strength).clamp_min(0.0)
                counts.append((goal == 0).flatten())
            torch.testing.assert_close(parameter, goal, rtol=0, atol=1e-5)
    assert 0.2 < float(torch.cat(counts).float().mean()) < 0.9


def test_l2_shrinks_the_chosen_units_faster_and_faster_and_never_to_zero():
    model = tiny_model()
    masks = Masks.ones(widths_of(model))
    masks.heads[0][1] = masks.ffn[1][5] = False
    before = [groups.sums(torch.Tensor.abs).detach() for groups in all_groups(model)]
    step = step_of(model, "l2", strength=0.5, growth=4.0, chosen=masks)
    expected = 1.0
    for progress in (0.0, 0.5, 1.0):
        step.after_step_(learning_rate=RATE, progress=progress)
        expected *= 1.0 - RATE * 0.5 * (1.0 + 3.0 * progress)
    kept = [mask for _, mask in with_masks(model, masks)]
    for groups, mask, old in zip(all_groups(model), kept, before, strict=True):
        now = groups.sums(torch.Tensor.abs)
        assert torch.equal(now[mask], old[mask])
        torch.testing.assert_close(now[~mask], old[~mask] * expected)
    for _ in range(200):
        step.after_step_(learning_rate=RATE, progress=1.0)
    for groups, mask in with_masks(model, masks):
        assert bool((groups.sums(torch.Tensor.abs)[~mask] > 0).all())
        assert bool((groups.sums(torch.Tensor.abs)[~mask] < 1e-10).all())


def test_a_group_of_zeros_stays_one():
    model = tiny_model()
    groups = all_groups(model)[1]
    groups.scale_(torch.zeros(groups.num_units))
    step = step_of(model, "group_lasso")
    step.after_step_(learning_rate=RATE, progress=0.0)
    assert not bool(groups.sums(torch.Tensor.abs).any())
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
