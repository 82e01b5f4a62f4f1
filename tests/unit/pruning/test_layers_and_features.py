import itertools

import pytest
import torch

from secateur.families import family_of
from secateur.models.surgery import widths_of
from secateur.pruning import layers_and_features as places
from secateur.pruning.layers_and_features import best_features, best_layers, reshape_
from secateur.training.objectives import logits_of as logits_on
from tests.tiny_models import MODEL_TYPES
from tests.tiny_models import tiny_model as tiny_of_family
from tests.unit.pruning.tiny import tiny_model, tiny_rows

ROWS = tiny_rows(24)


def tensors(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same(model, before):
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@torch.no_grad()
def almost_pass_through_(model, layer: int, *, share: float = 1e-4):
    """Make a layer add next to nothing to the residual stream."""
    chosen = family_of(model).layers(model)[layer]
    for linear in (chosen.attention.output, chosen.ffn.down):
        linear.weight.mul_(share)
        linear.bias.mul_(share)


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_a_layer_that_does_nothing_goes_first(layer):
    model = tiny_model(layers=4)
    almost_pass_through_(model, layer)
    before = tensors(model)
    kept = best_layers(model, ROWS, num_layers=3, precision="fp32")
    assert kept == [number for number in range(4) if number != layer]
    assert_same(model, before)


def test_the_first_choice_is_the_best_of_all_and_fewer_layers_are_a_subset():
    model = tiny_model(layers=4)
    chosen = {count: best_layers(model, ROWS, num_layers=count, precision="fp32") for count in (4, 3, 2, 1)}
    assert chosen[4] == [0, 1, 2, 3]
    for more, fewer in itertools.pairwise((4, 3, 2, 1)):
        assert set(chosen[fewer]) < set(chosen[more])
        assert len(chosen[fewer]) == fewer
    expected = logits_on(model, ROWS, batch_size=64, precision="fp32").softmax(-1)
    losses = {}
    for gone in range(4):
        other = tiny_model(layers=4)
        family_of(other).keep_layers_(other, [number for number in range(4) if number != gone])
        found = logits_on(other, ROWS, batch_size=64, precision="fp32").log_softmax(-1)
        losses[gone] = float((expected * (expected.log() - found)).sum(-1).mean())
    assert set(range(4)) - set(chosen[3]) == {min(losses, key=losses.__getitem__)}


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_features_that_are_zero_behind_every_norm_go(model_type):
    model = tiny_of_family(model_type)
    dead = [1, 8, 17, 30]
    with torch.no_grad():
        for norm in family_of(model).stream_norms(model):
            for vector in norm.parameters():
                vector[dead] = 0.0
    before = tensors(model)
    stream, head = best_features(model, ROWS, hidden_size=28, precision="fp32")
    assert (~stream).nonzero().flatten().tolist() == dead
    assert int(head.sum()) == 28
    assert_same(model, before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_padding_does_not_count(monkeypatch: pytest.MonkeyPatch):
    """Rows beside longer ones choose the features that they choose one by one."""
    together = best_features(tiny_model(), ROWS, hidden_size=8, precision="fp32")
    monkeypatch.setattr(places, "_BATCH", 1)
    alone = best_features(tiny_model(), ROWS, hidden_size=8, precision="fp32")
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))


def test_fewer_features_are_a_subset():
    wide, narrow = (best_features(tiny_model(), ROWS, hidden_size=size, precision="fp32") for size in (12, 6))
    for more, fewer in zip(wide, narrow, strict=True):
        assert (int(more.sum()), int(fewer.sum())) == (12, 6)
        assert not bool((fewer & ~more).any())


@pytest.mark.parametrize("asked", [{}, {"num_layers": 2}, {"hidden_size": 16}, {"num_layers": 5, "hidden_size": 99}])
def test_nothing_happens_where_it_is_so_already(asked):
    model = tiny_model()
    before = tensors(model)
    sizes = {"num_layers": None, "hidden_size": None, **asked}
    assert reshape_(model, ROWS, **sizes, precision="fp32") == (None, None)
    assert_same(model, before)


def test_both_are_brought_to_what_is_asked_once():
    model = tiny_model(layers=3)
    layers, features = reshape_(model, ROWS, num_layers=2, hidden_size=10, precision="fp32")
    assert layers is not None and features is not None
    assert (len(layers), int(features.sum())) == (2, 10)
    assert widths_of(model).num_layers == 2
    assert family_of(model).hidden_size(model.config) == 10
    assert bool(logits_on(model, ROWS, batch_size=64, precision="fp32").isfinite().all())
    assert reshape_(model, ROWS, num_layers=2, hidden_size=10, precision="fp32") == (None, None)
