import pytest
import torch

from secateur.errors import CheckpointError, ModelError
from secateur.families import family_of
from secateur.families.structures import Masks
from secateur.models.groups import with_masks
from secateur.models.surgery import widths_of
from secateur.pruning.suppression import read_masks, suppress_, write_masks
from tests.tiny_models import MODEL_TYPES, logits_of, some_masks, tiny_model

DIVISOR = 10_000.0


def tensors(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_the_whole_group_is_divided_and_nothing_else_changes(model_type):
    model = tiny_model(model_type)
    masks = Masks.ones(widths_of(model))
    masks.heads[1][2] = masks.ffn[2][7] = False  # features 16..23 of its key, as many of each query
    before = tensors(model)
    suppress_(model, masks, divisor=DIVISOR, already=None)
    after = tensors(model)
    layers = family_of(model).layers(model)
    attention, down = layers[1].attention, layers[2].ffn.down
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    expected = {name: torch.ones_like(tensor) for name, tensor in before.items()}
    size = attention.unit_size
    for linear, features in ((attention.query, size), (attention.key, 8), (attention.value, 8)):
        for parameter in linear.parameters():
            expected[names[id(parameter)]][2 * features : 3 * features] /= DIVISOR
    expected[names[id(attention.output.weight)]][:, 2 * size : 3 * size] /= DIVISOR
    for up in layers[2].ffn.up:
        for parameter in up.parameters():
            expected[names[id(parameter)]][7] /= DIVISOR
    expected[names[id(down.weight)]][:, 7] /= DIVISOR
    for name, tensor in before.items():
        untouched = expected[name] == 1
        assert torch.equal(after[name][untouched], tensor[untouched])
        torch.testing.assert_close(after[name], tensor * expected[name], rtol=1e-6, atol=0.0)


def test_a_suppressed_model_is_nearly_the_masked_one():
    from secateur.models.surgery import masked

    model = tiny_model()
    masks = some_masks(model)
    dense = logits_of(model)
    with masked(model, masks):
        expected = logits_of(model)
    suppress_(model, masks, divisor=DIVISOR, already=None)
    assert (expected - dense).abs().max() > 1e-2
    # What is left is of the order of 1 / divisor: a neuron's bias and its column are both divided.
    torch.testing.assert_close(logits_of(model), expected, rtol=0, atol=1e-4)


def test_nothing_is_divided_twice_and_what_is_kept_again_stays_as_it_is():
    model = tiny_model()
    first, second = Masks.ones(widths_of(model)), Masks.ones(widths_of(model))
    first.ffn[0][[1, 2]] = False
    second.ffn[0][[2, 3]] = False
    suppress_(model, first, divisor=DIVISOR, already=None)
    before = tensors(model)
    suppress_(model, second, divisor=DIVISOR, already=first)
    up, old = (
        family_of(model).layers(model)[0].ffn.up[0].weight,
        before["bert.encoder.layer.0.intermediate.dense.weight"],
    )
    assert torch.equal(up[[0, 1, 2]], old[[0, 1, 2]])
    torch.testing.assert_close(up[3], old[3] / DIVISOR)
    before = tensors(model)
    suppress_(model, second, divisor=DIVISOR, already=second)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_gradients_of_suppressed_units_are_not_zero():
    model = tiny_model().train()
    masks = some_masks(model)
    suppress_(model, masks, divisor=DIVISOR, already=None)
    ids = torch.arange(5, 32).reshape(3, 9)
    model(input_ids=ids, labels=torch.tensor([0, 1, 2])).loss.backward()
    for groups, mask in with_masks(model, masks):
        assert bool((groups.sums(lambda tensor: tensor.grad.abs())[~mask] > 0).all())


def test_masks_that_do_not_fit_are_refused():
    model = tiny_model()
    other = Masks(heads=(torch.ones(3, dtype=torch.bool),) * 3, ffn=(torch.ones(24, dtype=torch.bool),) * 3)
    with pytest.raises(ModelError, match=r"masks for heads \[3, 3, 3\] and neurons \[24, 24, 24\] do not fit"):
        suppress_(model, other, divisor=DIVISOR, already=None)
    with pytest.raises(ModelError, match="do not fit"):
        suppress_(model, Masks.ones(widths_of(model)), divisor=DIVISOR, already=other)


def test_masks_come_back_from_a_file_and_equal_masks_give_equal_bytes(tmp_path):
    masks = some_masks(tiny_model())
    empty = Masks(heads=(*masks.heads, torch.zeros(0, dtype=torch.bool)), ffn=(*masks.ffn, masks.ffn[0]))
    for number, written in enumerate((masks, empty)):
        first, second = tmp_path / f"{number}.safetensors", tmp_path / f"{number}-again.safetensors"
        write_masks(first, written)
        write_masks(second, written)
        assert first.read_bytes() == second.read_bytes()
        found = read_masks(first)
        assert all(
            torch.equal(*pair) for pair in zip(found.heads + found.ffn, written.heads + written.ffn, strict=True)
        )


def test_what_is_no_file_of_masks_is_refused(tmp_path):
    path = tmp_path / "masks.safetensors"
    with pytest.raises(CheckpointError, match="is not there; the masks of a suppressed model stand beside its weights"):
        read_masks(path)
    path.write_bytes(b"not safetensors")
    with pytest.raises(CheckpointError, match="holds no masks of heads and neurons"):
        read_masks(path)
