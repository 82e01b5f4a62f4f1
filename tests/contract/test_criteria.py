"""One suite for all criteria: being registered is being tested."""

from typing import get_args

import pytest
import torch

from secateur.config.prune import Criterion
from secateur.models.families import family_of
from secateur.models.structures import Attention, Ffn
from secateur.models.surgery import linear_from, widths_of
from secateur.pruning.criteria import CRITERIA
from secateur.training.batches import batches_of
from tests.unit.pruning.material import tiny_model, tiny_rows

ROWS = tiny_rows(24)
EVERY = pytest.mark.parametrize("name", sorted(CRITERIA))


def score(name, model, rows=ROWS):
    return CRITERIA[name](model, batches_of(rows, batch_size=8, pad_token_id=0), precision="fp32")


def test_every_name_of_the_configuration_is_there():
    assert set(CRITERIA) == set(get_args(Criterion))


@EVERY
def test_one_finite_score_per_structure(name):
    model = tiny_model()
    scores, widths = score(name, model), widths_of(model)
    assert tuple(map(len, scores.heads)) == widths.heads
    assert tuple(map(len, scores.ffn)) == widths.ffn
    for values in (*scores.heads, *scores.ffn):
        assert values.dtype == torch.float32
        assert not values.requires_grad
        assert bool(values.isfinite().all())
        assert bool((values >= 0).all())


@EVERY
def test_the_model_is_left_as_it_was(name):
    model = tiny_model()
    flags = [parameter.requires_grad for parameter in model.parameters()]
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    score(name, model)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


@EVERY
def test_same_model_same_scores(name):
    first, again = score(name, tiny_model()), score(name, tiny_model())
    for one, other in zip((*first.heads, *first.ffn), (*again.heads, *again.ffn), strict=True):
        assert torch.equal(one, other)


@EVERY
def test_scores_follow_the_structures_when_these_change_places(name):
    model = tiny_model()
    expected = score(name, model)
    order, heads = torch.randperm(24, generator=torch.Generator().manual_seed(0)), torch.tensor([2, 0, 3, 1])
    permute_(model, ffn=order, heads=heads)
    found = score(name, model)
    for before, after in zip(expected.ffn, found.ffn, strict=True):
        torch.testing.assert_close(after, before[order])
    for before, after in zip(expected.heads, found.heads, strict=True):
        torch.testing.assert_close(after, before[heads])


@EVERY
def test_a_structure_without_effect_comes_last(name):
    model = tiny_model()
    layer = family_of(model).layers(model)[1]
    with torch.no_grad():
        for linear in (layer.attention.query, layer.attention.key, layer.attention.value):
            linear.weight[4:8] = 0.0
            linear.bias[4:8] = 0.0
        layer.attention.output.weight[:, 4:8] = 0.0
        layer.ffn.up[0].weight[3] = 0.0
        layer.ffn.up[0].bias[3] = 0.0
        layer.ffn.down.weight[:, 3] = 0.0
    scores = score(name, model)
    assert int(scores.heads[1].argmin()) == 1
    assert int(scores.ffn[1].argmin()) == 3


def permute_(model, *, ffn, heads) -> None:
    """Put heads and neurons of every layer into another order; the function of the model stays."""
    family = family_of(model)
    for index, layer in enumerate(family.layers(model)):
        features = (heads[:, None] * layer.attention.head_dim + torch.arange(layer.attention.head_dim)).reshape(-1)

        def rows(linear, order):
            return linear_from(linear.weight.detach()[order], linear.bias.detach()[order])

        def columns(linear, order):
            return linear_from(linear.weight.detach()[:, order].contiguous(), linear.bias.detach())

        attention = layer.attention
        projections = (rows(linear, features) for linear in (attention.query, attention.key, attention.value))
        moved = Attention(*projections, columns(attention.output, features), head_dim=attention.head_dim)
        family.replace_attention_(model, index, moved)
        up = tuple(rows(linear, ffn) for linear in layer.ffn.up)
        family.replace_ffn_(model, index, Ffn(up=up, down=columns(layer.ffn.down, ffn)))
