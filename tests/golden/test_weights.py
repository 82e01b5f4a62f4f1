"""Single weights against results that can be written down."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils import prune

from secateur.criteria.wanda import WANDA
from secateur.pruning.weights import gradient, magnitude, sparsegpt
from secateur.pruning.weights.activations import summed_over_tokens
from secateur.pruning.weights.application import prune_weights_
from secateur.pruning.weights.matrices import prunable
from secateur.pruning.weights.ranking import Pattern, Removal, choose
from secateur.training.batches import batches_of
from secateur.training.objectives import forward
from tests.unit.pruning.tiny import tiny_model, tiny_rows
from tests.unit.pruning.weights.settings import weight_settings

_FP64 = {"rtol": 0.0, "atol": 1e-9}
"""The solver works in fp64 on problems of size 1."""


def _removal(mask=None, *, shape=None, num_removed=None, pattern=None):
    gone = torch.zeros(shape, dtype=torch.bool) if mask is None else mask
    count = int(gone.sum()) if num_removed is None else num_removed
    return Removal(num_removed=count, gone=gone, divided=torch.zeros_like(gone), divisor=None, pattern=pattern)


def _problem(rows=6, columns=20, tokens=200, seed=0):
    torch.manual_seed(seed)
    mixing = torch.randn(columns, columns, dtype=torch.float64)
    inputs = torch.randn(tokens, columns, dtype=torch.float64) @ mixing
    return torch.randn(rows, columns, dtype=torch.float64), inputs


def _error(inputs, weight, new):
    return float((inputs @ (new - weight).T).square().sum())


def _least_squares(inputs, weight, removed):
    """Return the best weights on the support that is left: what no column order can beat."""
    best = torch.zeros_like(weight)
    for row, gone in enumerate(removed):
        best[row, ~gone] = torch.linalg.lstsq(inputs[:, ~gone], inputs @ weight[row]).solution
    return best


@pytest.mark.parametrize("comparison", ["model", "matrix"])
def test_magnitude_removes_what_torch_removes(comparison):
    model = tiny_model()
    reference = copy.deepcopy(model)
    linears = list(prunable(reference).values())
    if comparison == "model":
        prune.global_unstructured(
            [(one, "weight") for one in linears], pruning_method=prune.L1Unstructured, amount=0.37
        )
    else:
        for linear in linears:
            prune.l1_unstructured(linear, "weight", amount=0.5)
    scores = {name: linear.weight.detach().abs() for name, linear in prunable(model).items()}
    total = sum(values.numel() for values in scores.values())
    masks = choose(
        scores,
        num_removed=round((0.37 if comparison == "model" else 0.5) * total),
        comparison=comparison,
        gone={name: torch.zeros_like(values, dtype=torch.bool) for name, values in scores.items()},
        factors=dict.fromkeys(scores, 1.0),
        pattern=None,
    )
    for name, linear in prunable(reference).items():
        assert torch.equal(masks.matrices[name], linear.weight_mask.bool()), name


def test_lamp_by_hand():
    scores = magnitude.lamp(torch.tensor([[1.0, -3.0], [2.0, 0.0]]))
    torch.testing.assert_close(scores, torch.tensor([[1 / 14, 1.0], [4 / 13, 0.0]]))
    # Of equal weights the later counts as smaller: 1 of 3, 1 of 2, 1 of 1.
    torch.testing.assert_close(magnitude.lamp(torch.ones(1, 3)), torch.tensor([[1.0, 1 / 2, 1 / 3]]))
    assert magnitude.lamp(torch.zeros(2, 2)).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_wanda_is_the_weight_times_the_norm_of_its_input():
    model, rows = tiny_model(), tiny_rows(5)
    seen = []
    linear = prunable(model)["layers.1.ffn.down"]
    handle = linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for index in range(5):  # one row at a time: no padding
        (batch,) = batches_of(rows.take([index]), batch_size=1, pad_token_id=0)
        with torch.no_grad():
            forward(model, batch, precision="fp32")
    handle.remove()
    tokens = torch.cat([values[0] for values in seen])
    batches = batches_of(rows, batch_size=5, pad_token_id=0)
    scores = WANDA.weights.score(model, batches, precision="fp32", settings=WANDA.settings())
    expected = linear.weight.detach().abs() * tokens.norm(dim=0)
    torch.testing.assert_close(scores["layers.1.ffn.down"], expected, rtol=1e-4, atol=1e-6)


def test_taylor_is_the_limit_of_the_finite_difference():
    model, rows = tiny_model(), tiny_rows(1)
    (batch,) = batches_of(rows, batch_size=1, pad_token_id=0)
    scores = gradient.scores(model, [batch], precision="fp32", which="taylor")
    model.double()
    name, place, step = "layers.0.attention.value", (3, 5), 1e-4
    weight = prunable(model)[name].weight
    value = float(weight[place].detach())

    def loss(factor):
        with torch.no_grad():
            weight[place] = factor * value
            logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
            return float(cross_entropy(logits, batch.labels))

    slope = (loss(1 + step) - loss(1 - step)) / (2 * step)
    assert float(scores[name][place]) == pytest.approx(abs(slope), rel=1e-4)


def test_snip_adds_up_where_taylor_cancels():
    model, rows = tiny_model(), tiny_rows(16)

    def score(kind, size):
        batches = batches_of(rows, batch_size=size, pad_token_id=0)
        return gradient.scores(model, batches, precision="fp32", which=kind)["layers.0.ffn.up"]

    torch.testing.assert_close(score("taylor", 16), score("taylor", 4), rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(score("taylor", 16), score("snip", 16))
    assert bool((score("snip", 1) >= score("taylor", 1) - 1e-6).all())
    assert float(score("snip", 1).sum()) > 1.5 * float(score("taylor", 1).sum())


def test_sparsegpt_with_independent_inputs_is_wanda_and_moves_nothing():
    weight, _ = _problem(columns=256)
    squares = torch.rand(256, dtype=torch.float64) + 0.1
    new, removed = sparsegpt.solve(weight, squares.diag(), _removal(shape=weight.shape, num_removed=768))
    damped = squares + 0.01 * squares.mean()
    importance = weight.abs() * damped.sqrt()
    for block in (slice(0, 128), slice(128, 256)):
        expected = importance[:, block] <= importance[:, block].flatten().kthvalue(384).values
        assert torch.equal(removed[:, block], expected)
    torch.testing.assert_close(new, weight.masked_fill(removed, 0.0), **_FP64)


def test_sparsegpt_after_one_removed_column_is_least_squares_on_the_rest(monkeypatch):
    monkeypatch.setattr(sparsegpt, "_DAMPING", 1e-13)
    weight, inputs = _problem()
    mask = torch.zeros_like(weight, dtype=torch.bool)
    mask[:, 0] = True
    new, removed = sparsegpt.solve(weight, inputs.T @ inputs, _removal(mask))
    assert torch.equal(removed, mask)
    expected = torch.linalg.lstsq(inputs[:, 1:], inputs @ weight.T).solution.T
    torch.testing.assert_close(new[:, 1:], expected, rtol=0.0, atol=1e-7)
    assert not bool(new[:, 0].any())


def test_sparsegpt_of_the_last_column_has_nothing_left_to_move():
    weight, inputs = _problem(columns=130)  # the last block holds two columns
    mask = torch.zeros_like(weight, dtype=torch.bool)
    mask[:, -1] = True
    new, _ = sparsegpt.solve(weight, inputs.T @ inputs, _removal(mask))
    torch.testing.assert_close(new, weight.masked_fill(mask, 0.0), rtol=0.0, atol=0.0)


def test_sparsegpt_does_not_depend_on_its_blocks(monkeypatch):
    weight, inputs = _problem(columns=40)
    mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    results = []
    for block in (1, 7, 16, 40):
        monkeypatch.setattr(sparsegpt, "_BLOCK", block)
        results.append(sparsegpt.solve(weight, inputs.T @ inputs, _removal(mask))[0])
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], **_FP64)


@pytest.mark.parametrize("pattern", [None, Pattern(2, 4)])
def test_sparsegpt_errs_less_than_zeros_alone_and_than_magnitude(pattern):
    weight, _ = _problem(rows=8, columns=64)
    inputs = torch.randn(400, 16, dtype=torch.float64) @ torch.randn(16, 64, dtype=torch.float64)
    inputs += 0.3 * torch.randn(400, 64, dtype=torch.float64)  # few directions matter, as in a network
    gram = inputs.T @ inputs
    new, removed = sparsegpt.solve(weight, gram, _removal(shape=weight.shape, num_removed=256, pattern=pattern))
    assert int(removed.sum()) == 256
    by_size = weight.abs() <= weight.abs().flatten().kthvalue(256).values
    updated, same = sparsegpt.solve(weight, gram, _removal(by_size))
    assert torch.equal(same, by_size)
    zeroed = _error(inputs, weight, weight.masked_fill(by_size, 0.0))
    best = _error(inputs, weight, _least_squares(inputs, weight, by_size))
    assert best < _error(inputs, weight, updated) < zeroed
    assert _error(inputs, weight, new) < _error(inputs, weight, weight.masked_fill(removed, 0.0))
    assert _error(inputs, weight, new) < _error(inputs, weight, updated)


def test_sparsegpt_saliency_is_the_error_of_removing_one_weight_alone():
    model, rows = tiny_model(), tiny_rows(40)
    batches = list(batches_of(rows, batch_size=8, pad_token_id=0))
    scores = sparsegpt.saliencies(model, batches, precision="fp32")
    name = "layers.0.attention.output"
    linear = prunable(model)[name]
    gram = summed_over_tokens(
        model, batches, linears={name: linear}, statistic=lambda tokens: tokens.T @ tokens, precision="fp32"
    )[name].double()
    weight = linear.weight.detach().double()
    mask = torch.zeros_like(weight, dtype=torch.bool)
    mask[3, 0] = True  # the first column: all others can make up for it
    new, _ = sparsegpt.solve(weight, gram, _removal(mask))
    change = (new - weight)[3]
    damped = gram + 0.01 * gram.diagonal().mean() * torch.eye(len(gram))
    assert float(scores[name][3, 0]) == pytest.approx(float(change @ damped @ change), rel=1e-5)


def test_sparsegpt_beats_wanda_and_magnitude_on_the_outputs_of_a_model():
    rows = tiny_rows(200)
    (batch,) = batches_of(rows, batch_size=200, pad_token_id=0)
    with torch.no_grad():
        dense = forward(tiny_model(ffn=64), batch, precision="fp32")
    errors = {}
    for name in ("magnitude", "wanda", "sparsegpt", "random"):
        model = tiny_model(ffn=64)
        prune_weights_(model, rows=rows, sparsity=0.5, settings=weight_settings(name), precision="fp32")
        with torch.no_grad():
            errors[name] = float((forward(model, batch, precision="fp32") - dense).square().mean())
    assert errors["sparsegpt"] < min(errors["wanda"], errors["magnitude"])
    assert max(errors["wanda"], errors["magnitude"]) < errors["random"]


def test_an_input_that_never_fires_goes_first():
    weight, inputs = _problem(columns=16)
    inputs[:, 5] = 0.0
    _, removed = sparsegpt.solve(weight, inputs.T @ inputs, _removal(shape=weight.shape, num_removed=6))
    assert bool(removed[:, 5].all())
