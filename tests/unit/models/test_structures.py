import pytest
import torch

from secateur.models.structures import Masks, Widths


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


def test_layers_must_agree():
    with pytest.raises(ValueError, match="heads of 2 layers, neurons of 1"):
        Widths(heads=(1, 1), ffn=(1,), head_dim=4)
    with pytest.raises(ValueError, match="masks of 1 attention layers, of 0 FFN layers"):
        Masks(heads=(torch.ones(2, dtype=torch.bool),), ffn=())


def test_a_mask_is_boolean():
    with pytest.raises(ValueError, match="a mask is a vector of booleans"):
        Masks(heads=(torch.ones(2),), ffn=(torch.ones(2, dtype=torch.bool),))
