import torch

from secateur.criteria.fluctuation import FLUCTUATION
from secateur.second_order.blocks import blocks_of
from tests.unit.pruning.tiny import tiny_model
from tests.unit.second_order.tiny import batches


def score(model, **changes):
    return FLUCTUATION.structures(model, batches(**changes), precision="fp32", settings=FLUCTUATION.settings())


def test_a_constant_neuron_comes_last_however_large_it_is():
    model = tiny_model()
    layer = model.bert.encoder.layer[0]
    with torch.no_grad():
        layer.intermediate.dense.weight[5] = 0.0
        layer.intermediate.dense.bias[5] = 10.0
        layer.output.dense.weight[:, 5] = 10.0
    values = score(model).ffn[0]
    assert int(values.argmin()) == 5
    assert float(values[5]) < 1e-6 * float(values.mean())


def test_batches_and_padding_do_not_matter():
    one, many = score(tiny_model(), batch_size=1), score(tiny_model(), batch_size=32)
    for own, other in zip((*one.heads, *one.ffn), (*many.heads, *many.ffn), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def test_scores_share_out_over_blocks():
    model = tiny_model()
    scores = score(model)
    for block, values in zip(blocks_of(model), (*scores.heads, *scores.ffn), strict=True):
        torch.testing.assert_close(values.mean(), torch.tensor(float(block.unit_size)))
