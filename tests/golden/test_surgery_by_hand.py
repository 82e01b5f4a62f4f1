"""Surgery against numbers worked by hand, and against torch's own pruning."""

import torch
from torch.nn.utils import prune
from transformers import BertConfig

from secateur.budget.cost import encoder_macs, structure_costs
from secateur.families import family_of
from secateur.families.linears import linear_from
from secateur.families.structures import Masks, Widths
from secateur.models.surgery import cut_, masked, widths_of
from tests.tiny_models import logits_of, some_masks, tiny_config, tiny_model


def test_a_head_takes_its_rows_and_columns_with_it():
    """4 heads of 8 features: without heads 0 and 2, features 8..15 and 24..31 stay."""
    model = tiny_model()
    for layer in family_of(model).layers(model):
        for linear in layer.linears():
            rows, columns = linear.weight.shape
            linear.weight.data = 100.0 * torch.arange(rows)[:, None] + torch.arange(columns)
            linear.bias.data = torch.arange(rows, dtype=torch.float32)
    masks = Masks.ones(widths_of(model))
    masks.heads[1][[0, 2]] = False
    masks.ffn[1][:] = False
    masks.ffn[1][[3, 20]] = True
    cut_(model, masks)
    dense, cut, _ = family_of(model).layers(model)
    features = [*range(8, 16), *range(24, 32)]
    assert cut.attention.query.weight[:, 0].tolist() == [100.0 * feature for feature in features]
    assert cut.attention.value.bias.tolist() == features
    assert cut.attention.output.weight[0].tolist() == features
    assert cut.attention.output.bias.tolist() == list(range(32))
    assert cut.ffn.up[0].weight[:, 0].tolist() == [300.0, 2000.0]
    assert cut.ffn.up[0].bias.tolist() == [3.0, 20.0]
    assert cut.ffn.down.weight[0].tolist() == [3.0, 20.0]
    assert dense.attention.num_heads == 4
    assert dense.ffn.width == 24


def test_the_config_names_only_what_was_cut():
    model = tiny_model()
    masks = Masks.ones(widths_of(model))
    masks.heads[2][3] = False
    cut_(model, masks)
    assert model.config.to_dict()["per_layer_config"] == {"2": {"num_attention_heads": 3}}


def test_masking_equals_pruning_of_torch_on_both_sides_of_a_neuron():
    ours, theirs = tiny_model(), tiny_model()
    masks = some_masks(ours)
    for layer, heads, neurons in zip(family_of(theirs).layers(theirs), masks.heads, masks.ffn, strict=True):
        features = heads.repeat_interleave(8)
        for linear, keep in ((layer.attention.output, features), (layer.ffn.down, neurons)):
            prune.custom_from_mask(linear, "weight", keep.expand_as(linear.weight))
    with masked(ours, masks):
        found = logits_of(ours)
    torch.testing.assert_close(found, logits_of(theirs), rtol=0, atol=1e-5)


def test_bert_base_costs_what_everybody_says():
    """12 layers, 768 hidden, 3072 neurons: 85 054 464 encoder parameters; 128 tokens: 11.17 GMACs."""
    config = BertConfig(num_labels=2)
    head = 768 * 768 + 768 + 768 * 2 + 2
    prices = structure_costs(config, length=128)
    dense = Widths(heads=(12,) * 12, ffn=(3072,) * 12, head_dim=64)
    assert prices.total(dense).params == 85_054_464 + head
    projections = 4 * 128 * 768 * 768
    scores_and_context = 2 * 128 * 128 * 768
    feed_forward = 2 * 128 * 768 * 3072
    assert encoder_macs(config, 128) == 12 * (projections + scores_and_context + feed_forward) == 11_173_625_856


def test_the_price_of_a_head_and_a_neuron():
    """Hidden 32, heads of 8: q, k, v, o hold 4*32*8 weights and 3*8 biases; a neuron 2*32 weights and a bias."""
    prices = structure_costs(tiny_config(), length=10)
    assert prices.head == (4 * 10 * 32 * 8 + 2 * 10 * 10 * 8, 4 * 32 * 8 + 3 * 8)
    assert prices.neuron == (2 * 10 * 32, 2 * 32 + 1)


def test_a_linear_from_tensors_draws_no_random_number():
    state = torch.get_rng_state()
    linear = linear_from(torch.ones(2, 3), torch.zeros(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert (linear.in_features, linear.out_features) == (3, 2)
    assert linear.weight.requires_grad
