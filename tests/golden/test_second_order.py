"""Structured OBS, mask Fisher and fluctuation against closed forms."""

import pytest
import torch

from secateur.criteria.fluctuation import fluctuation
from secateur.second_order.calibration import direction
from secateur.second_order.mask_fisher import rearrange
from secateur.second_order.surgeon import damped_, remove_groups, solve_kept

EXACT = 1e-9
"""float64 with condition numbers up to about 1e4."""


def problem(*, units: int, size: int, tokens: int = 400, outputs: int = 6):
    """Correlated inputs with a constant 1 at the end, and weights with a bias."""
    generator = torch.Generator().manual_seed(units * size)
    num = units * size
    mix = torch.eye(num, dtype=torch.float64) + 0.4 * torch.randn(num, num, generator=generator).double() / num**0.5
    inputs = torch.randn(tokens, num, generator=generator).double() @ mix + 0.3
    inputs = torch.cat([inputs, torch.ones(tokens, 1, dtype=torch.float64)], dim=1)
    return inputs, torch.randn(outputs, num + 1, generator=generator).double()


def features_of(units: list[int], size: int, num_inputs: int) -> torch.Tensor:
    return torch.tensor([unit * size + place for unit in units for place in range(size)] + [num_inputs - 1])


SHAPES = pytest.mark.parametrize(("units", "size"), [(5, 3), (40, 1), (70, 1)])  # 70: more than two chunks


@SHAPES
def test_errors_of_greedy_removal_are_those_of_least_squares_on_what_stays(units, size):
    inputs, weight = problem(units=units, size=size)
    removals = remove_groups(weight, inputs.T @ inputs, factors=torch.ones(units))
    order = removals.order.tolist()
    assert sorted(order) == list(range(units))
    wanted = inputs @ weight.T
    for gone in range(units + 1):
        kept = features_of(sorted(order[gone:]), size, weight.shape[1])
        solution = torch.linalg.lstsq(inputs[:, kept], wanted).solution
        error = 0.5 * (inputs[:, kept] @ solution - wanted).square().sum()
        assert float(removals.errors[gone]) == pytest.approx(float(error), rel=EXACT, abs=1e-8)


@SHAPES
def test_solved_weights_are_the_least_squares_weights(units, size):
    inputs, weight = problem(units=units, size=size)
    kept = features_of([1, 3, 4], size, weight.shape[1])
    found = solve_kept(weight, inputs.T @ inputs, kept)
    expected = torch.linalg.lstsq(inputs[:, kept], inputs @ weight.T).solution.T
    torch.testing.assert_close(found, expected, rtol=EXACT, atol=EXACT)


@SHAPES
def test_every_removal_is_the_cheapest_one(units, size):
    inputs, weight = problem(units=units, size=size)
    hessian = inputs.T @ inputs
    order = remove_groups(weight, hessian, factors=torch.ones(units)).order.tolist()
    for gone in (0, 1, units // 2):
        alive = sorted(order[gone:])

        def error(unit: int, alive=alive) -> float:
            kept = features_of([other for other in alive if other != unit], size, weight.shape[1])
            change = weight.clone()
            change[:, kept] -= solve_kept(weight, hessian, kept)
            return float(torch.trace(change @ hessian @ change.T))

        assert min(alive, key=error) == order[gone]


def test_the_block_formula_is_the_squared_error_of_the_change():
    inputs, weight = problem(units=4, size=3)
    hessian = inputs.T @ inputs
    inverse, removed = torch.linalg.inv(hessian), torch.arange(3, 6)
    middle = torch.linalg.inv(inverse[removed][:, removed])
    formula = 0.5 * torch.trace(weight[:, removed] @ middle @ weight[:, removed].T)
    change = weight[:, removed] @ middle @ inverse[removed]
    torch.testing.assert_close(formula, 0.5 * (inputs @ change.T).square().sum())
    others = torch.tensor([torch.inf, 1.0, torch.inf, torch.inf])
    removals = remove_groups(weight, hessian, factors=others)
    assert removals.order[0] == 1
    torch.testing.assert_close(removals.errors[1], formula)


def test_with_a_diagonal_hessian_the_score_is_that_of_wanda_squared():
    weight = torch.randn(5, 9, generator=torch.Generator().manual_seed(0)).double()
    energies = torch.arange(1.0, 10.0).double()  # ||x_j||^2
    removals = remove_groups(weight, torch.diag(energies), factors=torch.ones(8))
    wanda_squared = (weight.square() * energies).sum(dim=0)[:8]
    assert removals.order.tolist() == wanda_squared.argsort().tolist()
    torch.testing.assert_close(removals.errors[1:].diff(prepend=removals.errors[:1]), 0.5 * wanda_squared.sort().values)


def test_an_inactive_input_goes_first_and_a_copy_costs_nothing():
    inputs, weight = problem(units=6, size=1)
    inputs[:, 2] = 0.0
    inputs[:, 4] = inputs[:, 1]
    removals = remove_groups(weight, damped_(inputs.T @ inputs, damping=1e-9), factors=torch.ones(6))
    assert removals.order[0] == 2
    assert set(removals.order[:2].tolist()) <= {1, 2, 4}
    assert float(removals.errors[2]) < 1e-6 * float(removals.errors[-1])


def test_protected_units_come_last_and_zero_goes_first():
    inputs, weight = problem(units=70, size=1)
    factors = torch.ones(70)
    factors[[3, 50]] = torch.inf
    factors[17] = 0.0
    removals = remove_groups(weight, inputs.T @ inputs, factors=factors)
    assert removals.order[0] == 17
    assert removals.order[-2:].tolist() == [50, 3]
    assert removals.errors.isinf().tolist() == [False] * 69 + [True] * 2


def test_damping_leaves_the_bias_alone():
    gram = torch.diag(torch.tensor([1.0, 3.0, 7.0], dtype=torch.float64))
    torch.testing.assert_close(
        damped_(gram).diagonal(), torch.tensor([1.02, 3.02, 7.0], dtype=torch.float64), rtol=EXACT, atol=EXACT
    )


def test_directions_have_the_covariance_of_the_softmax():
    logits = torch.tensor([[0.3, -1.0, 0.9]]).repeat(200_000, 1)
    drawn = direction(logits, torch.Generator().manual_seed(0)).double()
    p = logits[0].softmax(dim=0).double()
    expected = torch.diag(p) - p[:, None] * p[None, :]
    torch.testing.assert_close(drawn.T @ drawn / len(drawn), expected, rtol=0.0, atol=2e-3)


def test_rearranged_errors_are_the_quadratic_form_of_what_is_gone():
    gradients = torch.rand(50, 7, generator=torch.Generator().manual_seed(0)).double()
    fisher = gradients.T @ gradients / 50
    removals = rearrange(fisher, factors=torch.ones(7))
    for gone in range(8):
        indicator = torch.zeros(7, dtype=torch.float64)
        indicator[removals.order[:gone]] = 1.0
        torch.testing.assert_close(removals.errors[gone], 0.5 * indicator @ fisher @ indicator)


def test_rearranging_separates_units_that_cancel_from_units_that_add_up():
    # Units 0 and 1 are small but add up; unit 2 is a little larger and cancels unit 0.
    fisher = torch.tensor([[1.0, 0.9, -0.9], [0.9, 1.1, 0.0], [-0.9, 0.0, 1.2]], dtype=torch.float64)
    assert rearrange(fisher, factors=torch.ones(3)).order.tolist() == [0, 2, 1]
    assert rearrange(torch.diag(fisher.diagonal()), factors=torch.ones(3)).order.tolist() == [0, 1, 2]


def test_fluctuation_is_the_squared_error_of_replacing_an_input_by_its_mean():
    inputs, weight = problem(units=5, size=1)
    inputs, weight = inputs[:, :-1], weight[:, :-1]
    variance = inputs.var(dim=0, correction=0)
    for place, found in enumerate(fluctuation(variance, weight).tolist()):
        replaced = inputs.clone()
        replaced[:, place] = inputs[:, place].mean()
        error = ((replaced - inputs) @ weight.T).square().sum(dim=1).mean()
        assert found == pytest.approx(float(error), rel=EXACT)
