import copy
from itertools import pairwise

import pytest
import torch

from secateur.budget.allocation import Limits
from secateur.budget.error_curves import masks_at
from secateur.budget.scores import Scores
from secateur.errors import ModelError
from secateur.families.structures import Widths
from secateur.models.surgery import cut_, masked, widths_of
from secateur.second_order.blocks import blocks_of
from secateur.second_order.calibration import moments
from secateur.second_order.database import build
from tests.unit.pruning.tiny import tiny_model
from tests.unit.second_order.tiny import LIMITS, batches, distance, logits

WEIGHTINGS = pytest.mark.parametrize("weighting", ["tokens", "fisher"])
HALF = Widths(heads=(2, 2), ffn=(12, 12), head_dim=4)
WITHOUT_BLOCKS = Widths(heads=(0, 3), ffn=(24, 0), head_dim=4)


def built(model, *, limits=LIMITS, factors=None, weighting="fisher", size=16):
    given = batches(batch_size=size)
    return build(model, given, seed=0, precision="fp32", limits=limits, factors=factors, weighting=weighting)


@WEIGHTINGS
def test_levels_cover_every_width_that_may_stay_and_errors_grow(weighting):
    curves = built(tiny_model(), weighting=weighting).curves
    for curve in curves.heads:
        assert curve.kept == (4, 3, 2, 1, 0)
    for curve in curves.ffn:
        assert curve.kept == (24, 20, 16, 12, 8, 4, 0)
    for curve in (*curves.heads, *curves.ffn):
        assert curve.errors[0] == 0.0
        assert all(smaller < larger for smaller, larger in pairwise(curve.errors))


def test_the_model_is_left_as_it_was():
    model = tiny_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    flags = [parameter.requires_grad for parameter in model.parameters()]
    built(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


def test_full_widths_give_the_same_bits_even_after_other_widths():
    model = tiny_model()
    database, stitched = built(model), copy.deepcopy(model)
    database.stitch_(stitched, HALF)
    assert distance(stitched, model) > 0.0
    database.stitch_(stitched, widths_of(model))
    assert torch.equal(logits(stitched), logits(model))


@WEIGHTINGS
@pytest.mark.parametrize("widths", [HALF, WITHOUT_BLOCKS], ids=["half", "without blocks"])
def test_updated_weights_beat_masks_and_survive_the_cut(weighting, widths):
    model = tiny_model()
    database, stitched, silenced = built(model, weighting=weighting), copy.deepcopy(model), copy.deepcopy(model)
    masks = masks_at(database.curves, widths)
    database.stitch_(stitched, widths)
    with masked(silenced, masks):
        assert distance(stitched, model) < 0.3 * distance(silenced, model)
    compact = copy.deepcopy(stitched)
    cut_(compact, masks)
    assert widths_of(compact) == widths
    torch.testing.assert_close(logits(compact), logits(stitched), rtol=1e-4, atol=1e-5)


def test_padding_counts_for_nothing():
    # Batches of one row are not padded; float32 sums in another order are all that differs.
    model = tiny_model()
    padded = moments(model, batches(batch_size=16), seed=0, precision="fp32", weighting="tokens")
    single = moments(model, batches(batch_size=1), seed=0, precision="fp32", weighting="tokens")
    for one, other in zip(padded, single, strict=True):
        torch.testing.assert_close(one.inputs, other.inputs, rtol=1e-4, atol=1e-6)
        assert float(one.inputs[-1, -1]) == pytest.approx(1.0)


def test_tokens_that_the_classifier_never_sees_do_not_count_in_the_last_layer():
    model = tiny_model()
    plain = moments(model, batches(), seed=0, precision="fp32", weighting="tokens")
    guided = moments(model, batches(), seed=0, precision="fp32", weighting="fisher")
    # Only the first token of a row is pooled, and all rows begin alike: its inputs vary less than all tokens'.
    assert float(guided[-1].inputs.diagonal()[:-1].sum()) != pytest.approx(
        float(plain[-1].inputs.diagonal()[:-1].sum())
    )
    assert guided[-1].outputs.count_nonzero() > 0


def test_protected_units_stay_and_limits_are_kept():
    model = tiny_model()
    heads, neurons = torch.ones(4), torch.ones(24)
    heads[2] = torch.inf
    neurons[[5, 6, 7, 8, 9]] = torch.inf
    limits = Limits(("heads", "ffn"), min_heads=0, ffn_multiple=4, min_neurons=0)
    curves = built(model, limits=limits, factors=Scores(heads=(heads,) * 2, ffn=(neurons,) * 2)).curves
    assert curves.heads[0].kept[-1] == 1
    assert bool(curves.heads[0].mask(1)[2])
    assert curves.ffn[0].kept[-1] == 8
    assert bool(curves.ffn[0].mask(8)[5:10].all())


def test_a_model_that_lost_blocks_can_be_calibrated_again():
    model = tiny_model()
    database = built(model)
    database.stitch_(model, WITHOUT_BLOCKS)
    cut_(model, masks_at(database.curves, WITHOUT_BLOCKS))
    again = built(model)
    assert again.curves.heads[0].kept == (0,)
    assert again.curves.ffn[1].kept == (0,)
    before = logits(model)
    again.stitch_(model, widths_of(model))
    assert torch.equal(logits(model), before)


def test_weights_that_are_no_numbers_are_named():
    model = tiny_model()
    blocks_of(model)[3].projection.weight.data[0, 0] = torch.nan
    with pytest.raises(ModelError, match=r"criterion obs: .*layers\.1\.ffn.* hold NaN"):
        built(model)


def test_same_rows_same_bits():
    first, again = built(tiny_model()), built(tiny_model())
    assert first.curves.ffn[0].errors == again.curves.ffn[0].errors
    assert torch.equal(first.curves.ffn[1].order, again.curves.ffn[1].order)
