import numpy as np
import pytest
import torch
from torch import nn

from secateur.training.dropout import Dropout, fast_dropout
from tests.unit.pruning.tiny import tiny_model


def dropout(p, seed=0) -> Dropout:
    return Dropout(p, generator=np.random.SFC64(seed))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_goes_and_the_mean_stays(p):
    dropped = dropout(p)(torch.ones(1000, 301))
    # Four standard deviations of a share over 301 000 draws.
    assert (dropped == 0).float().mean().item() == pytest.approx(p, abs=4 * (p * (1 - p) / 301_000) ** 0.5)
    kept = dropped[dropped != 0]
    assert torch.all(kept == kept[0])
    assert kept[0].item() == pytest.approx(1 / (1 - p), rel=2e-4)


def test_the_gradient_passes_where_the_value_did():
    inputs = torch.randn(7, 5, requires_grad=True)
    outputs = dropout(0.3)(inputs)
    outputs.sum().backward()
    torch.testing.assert_close(inputs.grad * inputs.detach(), outputs.detach())


def test_draws_differ_and_seeds_repeat():
    ones = torch.ones(64, 64)
    first, again, other = dropout(0.5), dropout(0.5), dropout(0.5, seed=1)
    one, two = first(ones), first(ones)
    assert torch.equal(one, again(ones))
    assert torch.equal(two, again(ones))
    assert not torch.equal(one, two)
    assert not torch.equal(one, other(ones))


@pytest.mark.parametrize("shape", [(1,), (3,), (5, 1, 2), (0, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_shape_and_type(shape, dtype):
    outputs = dropout(0.5)(torch.ones(shape, dtype=dtype))
    assert outputs.shape == shape
    assert outputs.dtype == dtype
    assert set(outputs.unique().tolist()) <= {0.0, 2.0}


def test_nothing_is_dropped_outside_training():
    inputs = torch.randn(4, 4)
    assert dropout(0.5).eval()(inputs) is inputs


def test_a_model_gets_its_own_modules_back():
    model = tiny_model()
    before = {name: module for name, module in model.named_modules() if isinstance(module, nn.Dropout)}
    with pytest.raises(KeyError), fast_dropout(model, seed=0):
        inside = {name: module for name, module in model.named_modules() if isinstance(module, Dropout)}
        assert inside.keys() == before.keys()
        assert not any(module.training for module in inside.values())
        raise KeyError
    assert all(model.get_submodule(name) is module for name, module in before.items())
