"""Criteria against results that can be written down."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from secateur.families import family_of
from secateur.models.groups import of_attention, of_ffn
from secateur.pruning import first_order
from secateur.pruning.group_norms import group_norms, lamp, score_by
from secateur.training.batches import batches_of
from secateur.training.mask_gradients import mask_gradients
from secateur.training.objectives import forward
from tests.unit.pruning.tiny import tiny_model, tiny_rows

# fp32 losses of about 1, differences of masks of 1e-2: what is left of 1e-7 after the division.
_TOLERANCE = 2e-3


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
    heads, neurons = of_attention(layer.attention), of_ffn(layer.ffn)
    assert group_norms(heads, "l2").tolist() == [0.0, 0.0, 13.0, 0.0]
    assert group_norms(heads, "l1").tolist() == [0.0, 0.0, 19.0, 0.0]
    assert group_norms(neurons, "l2").nonzero().tolist() == [[7]]
    assert group_norms(neurons, "l2")[7].item() == 7.0
    assert group_norms(neurons, "l1")[7].item() == 11.0
    # 16 features: 4 matrices of 4 x 16 and 3 biases of 4 for a head, 2 x 16 and 1 for a neuron.
    assert (heads.num_parameters, neurons.num_parameters) == (4 * 4 * 16 + 3 * 4, 2 * 16 + 1)


def test_lamp_by_hand():
    # Ascending squares 1, 1, 4, 10: each over the sum of those that are not smaller; equal ones score alike.
    assert lamp(torch.tensor([4.0, 1.0, 10.0, 1.0])).tolist() == pytest.approx([4 / 14, 1 / 16, 1.0, 1 / 16])
    assert lamp(torch.zeros(3)).tolist() == [0.0, 0.0, 0.0]


def test_lamp_ranks_within_a_layer_as_the_norm_does_and_ends_at_1():
    model = tiny_model()
    found, norms = score_by(model, "lamp"), score_by(model, "l2")
    for one, other in zip((*found.heads, *found.ffn), (*norms.heads, *norms.ffn), strict=True):
        assert torch.equal(one.argsort(), other.argsort())
        assert float(one.max()) == 1.0


def test_units_at_zero_count_like_units_that_were_cut():
    model, cut = tiny_model(), tiny_model()
    for layer, smaller in zip(family_of(model).layers(model), family_of(cut).layers(cut), strict=True):
        of_ffn(layer.ffn).scale_(torch.arange(24) % 2)
        down, up = smaller.ffn.down, smaller.ffn.up[0]
        down.weight, down.in_features = nn.Parameter(down.weight.detach()[:, 1::2]), 12
        up.weight, up.bias = nn.Parameter(up.weight.detach()[1::2]), nn.Parameter(up.bias.detach()[1::2])
    for one, other in zip(score_by(model, "l2").ffn, score_by(cut, "l2").ffn, strict=True):
        assert one[::2].tolist() == [0.0] * 12
        torch.testing.assert_close(one[1::2], other)


def test_magnitude_agrees_with_torch_structured_pruning():
    # Rows of the up projection are all alike, so the down projection alone decides, as in ln_structured.
    layer = _layer(tiny_model())
    with torch.no_grad():
        layer.ffn.up[0].weight.fill_(1.0)
        layer.ffn.up[0].bias.fill_(1.0)
    lowest = set(group_norms(of_ffn(layer.ffn), "l2").argsort()[:10].tolist())
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
        found = mask_gradients(output, grad, unit_size=1)[0]
        torch.testing.assert_close(found, (x * (a @ (x - target))).float())


@pytest.mark.parametrize(("kind", "unit"), [("heads", 1), ("heads", 3), ("ffn", 5), ("ffn", 20)])
def test_taylor_is_the_limit_of_the_finite_difference(kind, unit):
    model, row = tiny_model(), tiny_rows(1)
    (batch,) = batches_of(row, batch_size=1, pad_token_id=0)
    heads, ffn = first_order.taylor(model, [batch], precision="fp32")
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
    scores = heads if kind == "heads" else ffn
    assert scores[1][unit].item() == pytest.approx(abs(slope.item()), rel=_TOLERANCE, abs=1e-5)


@pytest.mark.parametrize("score", [first_order.taylor, first_order.snip])
def test_the_batch_size_does_not_matter(score):
    model, rows = tiny_model(), tiny_rows(12)
    small, large = (
        score(model, batches_of(rows, batch_size=size, pad_token_id=0), precision="fp32") for size in (1, 12)
    )
    for one, other in zip(small[0] + small[1], large[0] + large[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_rows_do_not_cancel_in_taylor():
    # The derivative of a mask is exactly the product of the neuron's output column with its gradient.
    model, rows = tiny_model(), tiny_rows(12)
    batches = list(batches_of(rows, batch_size=4, pad_token_id=0))
    slopes = _gradients(model, batches)
    down = _layer(model).ffn.down.weight
    signed = -(down.detach() * slopes[down]).sum(dim=0)
    _, ffn = first_order.taylor(model, batches, precision="fp32")
    assert bool((signed.abs() <= ffn[0] + 1e-6).all())
    assert float(signed.abs().sum()) < 0.9 * float(ffn[0].sum())


def test_snip_is_the_sum_of_products_of_weights_and_gradients():
    model = tiny_model()
    batches = list(batches_of(tiny_rows(12), batch_size=4, pad_token_id=0))
    slopes = _gradients(model, batches)
    snip = first_order.snip(model, batches, precision="fp32")
    attention, ffn = _layer(model).attention, _layer(model).ffn
    head = [(linear.weight[4:8], slopes[linear.weight][4:8]) for linear in (attention.query, attention.key)]
    head += [(linear.bias[4:8], slopes[linear.bias][4:8]) for linear in (attention.query, attention.key)]
    head += [(attention.value.weight[4:8], slopes[attention.value.weight][4:8])]
    head += [(attention.value.bias[4:8], slopes[attention.value.bias][4:8])]
    head += [(attention.output.weight[:, 4:8], slopes[attention.output.weight][:, 4:8])]
    (up,) = ffn.up
    neuron = [(up.weight[9], slopes[up.weight][9]), (up.bias[9], slopes[up.bias][9])]
    neuron += [(ffn.down.weight[:, 9], slopes[ffn.down.weight][:, 9])]
    for parts, found in ((head, snip[0][0][1]), (neuron, snip[1][0][9])):
        products = torch.cat([(weight * slope).flatten() for weight, slope in parts])
        assert found.item() == pytest.approx(products.abs().sum().item(), rel=1e-4)


def _gradients(model, batches):
    """The gradient of the mean loss over all rows, by plain backward passes."""
    model.zero_grad()
    num_rows = sum(len(batch.labels) for batch in batches)
    for batch in batches:
        logits = forward(model, batch, precision="fp32")
        (nn.functional.cross_entropy(logits, batch.labels, reduction="sum") / num_rows).backward()
    slopes = {parameter: parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None}
    model.zero_grad()
    return slopes
