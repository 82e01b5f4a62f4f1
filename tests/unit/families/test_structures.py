import json

import pytest
import torch

from secateur.families.structures import Kept, Masks, Widths


def test_masks_count_what_stays():
    masks = Masks(
        heads=(torch.tensor([True, False]), torch.tensor([True, True])),
        ffn=(torch.tensor([False, True, True]), torch.tensor([True])),
    )
    assert masks.widths(8) == Widths(heads=(1, 2), ffn=(2, 1), head_dim=8)


def test_ones_keep_everything():
    widths = Widths(heads=(2, 1), ffn=(5, 3), head_dim=4)
    assert Masks.ones(widths).widths(4) == widths


def test_widths_as_plain_values():
    assert Widths(heads=(2,), ffn=(5,), head_dim=4).as_dict() == {"heads": [2], "ffn": [5], "head_dim": 4}


def test_what_is_kept_is_numbered_by_the_dense_model():
    """Heads 1 and 3 of 4 stay, then the second of them; the layer that goes takes its numbers along."""
    kept = Kept.all(Widths(heads=(4, 4), ffn=(3, 3), head_dim=8))
    assert kept == Kept(layers=(0, 1), heads=((0, 1, 2, 3),) * 2, ffn=((0, 1, 2),) * 2)
    everything = torch.ones(4, dtype=torch.bool)
    neurons = torch.tensor([True, False, True])
    first = kept.after(Masks(heads=(everything, torch.tensor([False, True, False, True])), ffn=(neurons, neurons)))
    assert first.heads == ((0, 1, 2, 3), (1, 3))
    second = first.after_dropping([1])
    assert second == Kept(layers=(1,), heads=((1, 3),), ffn=((0, 2),))
    third = second.after(Masks(heads=(torch.tensor([False, True]),), ffn=(torch.tensor([False, False]),)))
    assert third == Kept(layers=(1,), heads=((3,),), ffn=((),))
    assert Kept.from_dict(json.loads(json.dumps(third.as_dict()))) == third


def test_kept_units_fit_masks_and_layers():
    kept = Kept.all(Widths(heads=(2,), ffn=(3,), head_dim=8))
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        kept.after(Masks(heads=(torch.ones(1, dtype=torch.bool),), ffn=(torch.ones(3, dtype=torch.bool),)))
    with pytest.raises(ValueError, match="1 layers, heads of 0, neurons of 1"):
        Kept(layers=(0,), heads=(), ffn=((0,),))


def test_widths_of_some_layers():
    widths = Widths(heads=(1, 2, 3), ffn=(4, 5, 6), head_dim=8)
    assert widths.take([0, 2]) == Widths(heads=(1, 3), ffn=(4, 6), head_dim=8)


def test_layers_must_agree():
    with pytest.raises(ValueError, match="heads of 2 layers, neurons of 1"):
        Widths(heads=(1, 1), ffn=(1,), head_dim=4)
    with pytest.raises(ValueError, match="masks of 1 attention layers, of 0 FFN layers"):
        Masks(heads=(torch.ones(2, dtype=torch.bool),), ffn=())


def test_a_mask_is_boolean():
    with pytest.raises(ValueError, match="a mask is a vector of booleans"):
        Masks(heads=(torch.ones(2),), ffn=(torch.ones(2, dtype=torch.bool),))
