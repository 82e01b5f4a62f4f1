"""One suite for all criteria of structures: being registered is being tested."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from secateur.budget.allocation import Limits, achieved, choose
from secateur.budget.prices import Prices
from secateur.budget.scores import Scores, check_finite
from secateur.config.criteria import CRITERIA
from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.linears import linear_from
from secateur.families.structures import Attention, Ffn, Masks, Widths
from secateur.models.surgery import cut_, widths_of
from secateur.pruning.multipliers import apply_multipliers
from secateur.training.batches import batches_of
from tests.contract.criterion_variants import OF_STRUCTURES, variants
from tests.unit.pruning.tiny import tiny_model, tiny_rows

ROWS = tiny_rows(24)
VARIANTS = variants(OF_STRUCTURES)
BLIND = {title for title, (name, _) in VARIANTS.items() if CRITERIA[name].is_blind}

EVERY = pytest.mark.parametrize("variant", VARIANTS)
SEEING = pytest.mark.parametrize("variant", sorted(set(VARIANTS) - BLIND))


def score(variant, model, rows=ROWS) -> Scores:
    name, settings = VARIANTS[variant]
    structures = CRITERIA[name].structures
    assert structures is not None
    batches = [] if rows is None else batches_of(rows, batch_size=8, pad_token_id=0)
    return structures(model, batches, precision="fp32", settings=settings)


def vectors(scores: Scores) -> tuple[torch.Tensor, ...]:
    return (*scores.heads, *scores.ffn)


@EVERY
def test_one_finite_score_per_structure(variant):
    model = tiny_model()
    scores, widths = score(variant, model), widths_of(model)
    assert tuple(map(len, scores.heads)) == widths.heads
    assert tuple(map(len, scores.ffn)) == widths.ffn
    for values in vectors(scores):
        assert values.dtype == torch.float32
        assert not values.requires_grad
        assert bool(values.isfinite().all())
        assert bool((values >= 0).all())
        assert len(values.unique()) > 1, "a criterion tells structures apart"


@EVERY
def test_the_model_is_left_as_it_was(variant):
    model = tiny_model()
    flags = [parameter.requires_grad for parameter in model.parameters()]
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    score(variant, model)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


@EVERY
def test_same_model_same_scores(variant):
    first, again = score(variant, tiny_model()), score(variant, tiny_model())
    assert all(torch.equal(one, other) for one, other in zip(vectors(first), vectors(again), strict=True))


@EVERY
def test_nothing_is_looked_at_but_what_is_needed(variant):
    needs, model = CRITERIA[VARIANTS[variant][0]].needs, tiny_model()
    scores = score(variant, model)
    others = {"rows": None, "labels": replace(ROWS, labels=np.roll(ROWS.labels, 1))}
    for need, rows in others.items():
        if need not in needs:
            found = score(variant, model, rows)
            assert all(torch.equal(*pair) for pair in zip(vectors(scores), vectors(found), strict=True)), need


@SEEING
def test_scores_follow_the_structures_when_these_change_places(variant):
    model = tiny_model()
    expected = score(variant, model)
    order, heads = torch.randperm(24, generator=torch.Generator().manual_seed(0)), torch.tensor([2, 0, 3, 1])
    permute_(model, ffn=order, heads=heads)
    found = score(variant, model)
    for before, after in zip(expected.ffn, found.ffn, strict=True):
        torch.testing.assert_close(after, before[order])
    for before, after in zip(expected.heads, found.heads, strict=True):
        torch.testing.assert_close(after, before[heads])


@SEEING
def test_a_structure_without_effect_comes_last(variant):
    scores = score(variant, _with_dead_structures())
    for values, dead in ((scores.heads[1], 1), (scores.ffn[1], 3)):
        others = torch.cat([values[:dead], values[dead + 1 :]])
        assert float(values[dead]) < float(others.min())


@SEEING
def test_a_layer_of_zeros_gives_zeros_and_not_nan(variant):
    model = tiny_model()
    with torch.no_grad():
        for linear in family_of(model).layers(model)[0].linears():
            linear.weight.zero_()
            linear.bias.zero_()
    scores = score(variant, model)
    assert all(bool(values.isfinite().all()) for values in vectors(scores))
    for values in (scores.heads[0], scores.ffn[0]):
        assert bool((values == values[0]).all())


@EVERY
def test_layers_without_heads_or_neurons_are_scored_around(variant):
    model = tiny_model(layers=3)
    masks = Masks.ones(widths_of(model))
    masks.heads[1][:] = False
    masks.ffn[2][:] = False
    cut_(model, masks)
    scores = score(variant, model)
    assert tuple(map(len, scores.heads)) == (4, 0, 4)
    assert tuple(map(len, scores.ffn)) == (24, 24, 0)
    assert all(bool(values.isfinite().all()) for values in vectors(scores))
    assert all(len(values.unique()) > 1 for values in vectors(scores) if len(values) > 0)


@SEEING
def test_weights_that_are_not_finite_are_refused_by_name(variant):
    model = tiny_model()
    with torch.no_grad():
        family_of(model).layers(model)[1].ffn.up[0].weight[3, 2] = float("nan")
    scores, name = score(variant, model), VARIANTS[variant][0]
    with pytest.raises(ModelError, match=rf"criterion {name}: weights or gradients of .*layers\.1\.ffn hold NaN"):
        check_finite(scores, criterion=name)
    check_finite(score(variant, tiny_model()), criterion=name)


@EVERY
def test_sparsity_0_changes_no_bit(variant):
    model = tiny_model()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    cut_(model, _chosen(score(variant, model), fraction=1.0))
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@SEEING
def test_of_equal_structures_exactly_the_asked_number_goes(variant):
    model = tiny_model()
    for layer in family_of(model).layers(model):
        with torch.no_grad():
            for linear in layer.linears():
                linear.weight.fill_(0.01)
                linear.bias.fill_(0.01)
    scores = score(variant, model)
    assert all(bool((values == values[0]).all()) for values in scores.ffn)
    limits = Limits(structures=("ffn",), min_heads=1, min_neurons=1, ffn_multiple=1)
    for fraction in (0.75, 0.5, 0.25):
        masks = _chosen(scores, fraction=fraction, limits=limits, prices=Prices(head=0, neuron=1, fixed=0))
        assert sum(int(mask.sum()) for mask in masks.ffn) == 48 * fraction


@EVERY
def test_preset_factors_of_1_change_no_bit_and_a_common_factor_no_choice(variant):
    scores = score(variant, tiny_model())
    names = ("layers.*.heads", "layers.*.ffn")
    same = apply_multipliers(scores, dict.fromkeys(names, 1.0), kept=None)
    assert all(torch.equal(one, other) for one, other in zip(vectors(scores), vectors(same), strict=True))
    scaled = apply_multipliers(scores, dict.fromkeys(names, 8.0), kept=None)
    for fraction in (0.8, 0.5, 0.3):
        base, other = (_chosen(values, fraction=fraction) for values in (scores, scaled))
        assert all(torch.equal(*pair) for pair in zip(base.heads + base.ffn, other.heads + other.ffn, strict=True))


def _chosen(scores: Scores, *, fraction: float, limits: Limits | None = None, prices: Prices | None = None) -> Masks:
    widths = Widths(heads=(4, 4), ffn=(24, 24), head_dim=4)
    masks = choose(
        scores,
        fraction=fraction,
        dense=widths,
        prices=prices or Prices(head=256, neuron=32, fixed=0),
        limits=limits or Limits(structures=("heads", "ffn"), min_heads=1, min_neurons=1, ffn_multiple=1),
    )
    assert achieved(masks.widths(4), dense=widths, prices=prices or Prices(head=256, neuron=32, fixed=0)) <= fraction
    return masks


def _with_dead_structures():
    """Head 1 and neuron 3 of layer 1 are zero throughout."""
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
    return model


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
