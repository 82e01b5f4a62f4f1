"""Criteria against results that can be written down."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from secateur.models.families import family_of
from secateur.pruning.criteria import gradient, magnitude
from secateur.training.batches import batches_of
from secateur.training.objectives import forward
from tests.unit.pruning.material import tiny_model, tiny_rows

# fp32 losses of about 1, differences of masks of 1e-2: what is left of 1e-7 after the division.
_TOLERANCE = 2e-3


def _raw(layers, *, group_size):
    """Leave the scores as the formula gives them, without making layers and kinds comparable."""
    assert group_size > 0
    return tuple(layers)


def _layer(model):
    return family_of(model).layers(model)[0]


def test_magnitude_is_the_norm_of_the_whole_coupled_group():
    model = tiny_model()
    layer = family_of(model).layers(model)[0]
    with torch.no_grad():
        for linear in layer.linears():
            linear.weight.zero_()
            linear.bias.zero_()
        # Head 2 of 4 (features 8..11): 3 in query, 4 in a key bias, 12 in the output columns.
        layer.attention.query.weight[9, 0] = 3.0
        layer.attention.key.bias[10] = 4.0
        layer.attention.output.weight[5, 11] = 12.0
        # Neuron 7: row 2, bias 3, column 6.
        layer.ffn.up[0].weight[7, 1] = 2.0
        layer.ffn.up[0].bias[7] = 3.0
        layer.ffn.down.weight[0, 7] = 6.0
        # No part of any group: it stays whatever goes.
        layer.attention.output.bias[0] = 100.0
    assert magnitude.heads(layer).tolist() == [0.0, 0.0, 13.0, 0.0]
    assert magnitude.neurons(layer).nonzero().tolist() == [[7]]
    assert magnitude.neurons(layer)[7].item() == 7.0


def test_magnitude_agrees_with_torch_structured_pruning():
    # Rows of the up projection are all alike, so the down projection alone decides, as in ln_structured.
    layer = _layer(tiny_model())
    with torch.no_grad():
        layer.ffn.up[0].weight.fill_(1.0)
        layer.ffn.up[0].bias.fill_(1.0)
    lowest = set(magnitude.neurons(layer).argsort()[:10].tolist())
    linear = layer.ffn.down
    prune.ln_structured(linear, "weight", amount=10, n=2, dim=1)
    assert {index for index, kept in enumerate(linear.weight_mask[0].tolist()) if not kept} == lowest


def test_mask_gradient_is_exact_on_a_quadratic_loss():
    # L = 1/2 (o - t)^T A (o - t), o = m * x: dL/dm_i = x_i (A (o - t))_i, and 0 for all i at the optimum.
    torch.manual_seed(0)
    root = torch.randn(4, 4, dtype=torch.float64)
    a, x, t = root @ root.T, torch.randn(4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    for target in (t, x):
        output = x.clone().view(1, 1, 4).requires_grad_(True)
        difference = output.view(4) - target
        (grad,) = torch.autograd.grad(0.5 * difference @ a @ difference, output)
        found = gradient.mask_gradients(output, grad, unit_size=1)[0]
        torch.testing.assert_close(found, (x * (a @ (x - target))).float())


@pytest.mark.parametrize(("kind", "unit"), [("heads", 1), ("heads", 3), ("ffn", 5), ("ffn", 20)])
def test_gradient_is_the_limit_of_the_finite_difference(kind, unit, monkeypatch):
    monkeypatch.setattr(gradient, "_comparable", _raw)
    model, row = tiny_model(), tiny_rows(1)
    (batch,) = batches_of(row, batch_size=1, pad_token_id=0)
    scores = gradient.score(model, [batch], precision="fp32")
    layer = family_of(model).layers(model)[1]
    module, size = (layer.attention.output, 4) if kind == "heads" else (layer.ffn.down, 1)
    step = 1e-2

    def loss(mask_value: float) -> torch.Tensor:
        def scale(_, inputs):
            mask = torch.ones(inputs[0].shape[-1])
            mask[unit * size : (unit + 1) * size] = mask_value
            return (inputs[0] * mask,)

        handle = module.register_forward_pre_hook(scale)
        with torch.no_grad():
            value = nn.functional.cross_entropy(forward(model, batch, precision="fp32"), batch.labels)
        handle.remove()
        return value

    slope = (loss(1 + step) - loss(1 - step)) / (2 * step)
    assert getattr(scores, kind)[1][unit].item() == pytest.approx(abs(slope.item()), rel=_TOLERANCE, abs=1e-5)


def test_rows_do_not_cancel_and_batches_do_not_matter(monkeypatch):
    monkeypatch.setattr(gradient, "_comparable", _raw)
    model, rows = tiny_model(), tiny_rows(12)
    small, large = (
        gradient.score(model, batches_of(rows, batch_size=size, pad_token_id=0), precision="fp32") for size in (1, 12)
    )
    for one, other in zip((*small.heads, *small.ffn), (*large.heads, *large.ffn), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
