import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.structures import Kept, Masks
from secateur.models.surgery import cut_, widths_of
from secateur.pruning import regrowth
from secateur.pruning.regrowth import expanded, mask_slopes, regrow
from secateur.training.batches import batches_of
from secateur.training.objectives import forward
from tests.tiny_models import MODEL_TYPES, logits_of, some_masks
from tests.tiny_models import tiny_model as tiny_of_family
from tests.unit.pruning.tiny import tiny_model, tiny_rows

ROWS = tiny_rows(24)


def batches():
    return list(batches_of(ROWS, batch_size=8, pad_token_id=0))


def loss(model) -> float:
    with torch.no_grad():
        losses = [
            cross_entropy(forward(model, batch, precision="fp32"), batch.labels, reduction="sum") for batch in batches()
        ]
    return float(torch.stack(losses).sum()) / len(ROWS)


def cut(model, masks):
    """A cut copy, whose kept weights were trained away from the dense ones, and what it keeps."""
    pruned = copy.deepcopy(model)
    cut_(pruned, masks)
    torch.manual_seed(1)
    for parameter in pruned.parameters():
        parameter.data.add_(0.01 * torch.randn_like(parameter))
    return pruned, Kept.all(widths_of(model)).after(masks)


def train_(model) -> None:
    """Let what is left learn to do without the others."""
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(40):
        batch = batches()[step % 3]
        optimizer.zero_grad()
        cross_entropy(forward(model, batch, precision="fp32"), batch.labels).backward()
        optimizer.step()


def pair(**changes):
    model = tiny_model(layers=3, **changes)
    return model, *cut(model, some_masks(model))


def test_the_best_ones_return():
    dense, pruned, kept = pair()
    model, more = regrow(pruned, dense, kept=kept, batches=batches(), fraction=0.5, ffn_multiple=1, precision="fp32")
    slopes = mask_slopes(pruned, dense, kept=kept, batches=batches(), precision="fp32")
    for few, many, values in ((kept.heads, more.heads, slopes.heads), (kept.ffn, more.ffn, slopes.ffn)):
        back = [(layer, unit) for layer, units in enumerate(many) for unit in units if unit not in few[layer]]
        scores = {
            (layer, unit): abs(float(slope[unit]))
            for layer, slope in enumerate(values)
            for unit in range(len(slope))
            if unit not in few[layer]
        }
        assert len(back) == len(scores) // 2
        assert min(scores[place] for place in back) >= max(scores[place] for place in set(scores) - set(back))
        assert all(set(units) <= set(larger) for units, larger in zip(few, many, strict=True))
    widths = widths_of(model)
    assert (widths.heads, widths.ffn) == (tuple(map(len, more.heads)), tuple(map(len, more.ffn)))
    assert family_of(model).widths(model.config) == widths


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("trained", [False, True])
def test_the_loss_does_not_rise(seed, trained):
    dense = tiny_model(layers=3, seed=seed)
    pruned, kept = cut(dense, some_masks(dense, seed=seed))
    if trained:
        train_(pruned)
    before = loss(pruned)
    for fraction in (0.2, 0.5, 0.9):
        model, _ = regrow(
            pruned, dense, kept=kept, batches=batches(), fraction=fraction, ffn_multiple=1, precision="fp32"
        )
        assert loss(model) <= before + 1e-6


def test_zero_columns_leave_the_function_as_it_is_and_dense_ones_may_make_the_loss_jump():
    # Why there are zero columns: what is left has learned to do without the others.
    dense, pruned, kept = pair()
    train_(pruned)
    whole = Kept.all(widths_of(dense))
    zero, full = (expanded(pruned, dense, kept=kept, into=whole, columns=columns) for columns in ("zero", "dense"))
    assert loss(zero) == pytest.approx(loss(pruned), abs=1e-6)
    assert loss(full) > 1.05 * loss(pruned)
    rewritten, _ = regrow(pruned, dense, kept=kept, batches=batches(), fraction=0.9, ffn_multiple=1, precision="fp32")
    assert loss(rewritten) <= loss(pruned) + 1e-6


def test_restored_rows_are_the_dense_ones_and_the_others_stay_as_trained():
    dense, pruned, kept = pair()
    model, more = regrow(pruned, dense, kept=kept, batches=batches(), fraction=0.9, ffn_multiple=1, precision="fp32")
    assert loss(model) == pytest.approx(loss(pruned), abs=1e-6), "dense columns would not help here"
    for index, layers in enumerate(zip(*(family_of(m).layers(m) for m in (model, pruned, dense)), strict=True)):
        now, old, source = (layer.ffn for layer in layers)
        for place, unit in enumerate(more.ffn[index]):
            own = unit in kept.ffn[index]
            where = kept.ffn[index].index(unit) if own else unit
            origin = old if own else source
            assert torch.equal(now.up[0].weight[place], origin.up[0].weight[where])
            assert torch.equal(now.up[0].bias[place], origin.up[0].bias[where])
            column = now.down.weight[:, place]
            assert torch.equal(column, old.down.weight[:, where]) if own else not bool(column.any())
        now, old, source = (layer.attention for layer in layers)
        for place, head in enumerate(more.heads[index]):
            own = head in kept.heads[index]
            where = kept.heads[index].index(head) if own else head
            origin, here, there = (
                old if own else source,
                slice(4 * place, 4 * place + 4),
                slice(4 * where, 4 * where + 4),
            )
            for name in ("query", "key", "value"):
                assert torch.equal(getattr(now, name).weight[here], getattr(origin, name).weight[there])
                assert torch.equal(getattr(now, name).bias[here], getattr(origin, name).bias[there])
        assert torch.equal(now.output.bias, old.output.bias)


def test_dense_columns_return_where_they_lower_the_loss():
    # The dense model has learned the rows, and the cut has hurt.
    dense = tiny_model(layers=3)
    train_(dense)
    masks = some_masks(dense)
    pruned = copy.deepcopy(dense)
    cut_(pruned, masks)
    kept = Kept.all(widths_of(dense)).after(masks)
    model, more = regrow(pruned, dense, kept=kept, batches=batches(), fraction=0.9, ffn_multiple=1, precision="fp32")
    assert loss(model) < loss(pruned) - 1e-3
    for few, units, layers in zip(
        kept.ffn, more.ffn, zip(*(family_of(m).layers(m) for m in (model, dense)), strict=True), strict=True
    ):
        now, source = (layer.ffn.down.weight for layer in layers)
        assert len(units) > len(few)
        assert torch.equal(now, source[:, list(units)])


def test_columns_of_zeros_get_a_gradient():
    dense, pruned, kept = pair()
    whole = Kept.all(widths_of(dense))
    model = expanded(pruned, dense, kept=kept, into=whole, columns="zero")
    (batch, *_) = batches()
    cross_entropy(forward(model, batch, precision="fp32"), batch.labels).backward()
    for index, layer in enumerate(family_of(model).layers(model)):
        restored = [unit for unit in range(24) if unit not in kept.ffn[index]]
        assert not bool(layer.ffn.down.weight[:, restored].any())
        assert bool((layer.ffn.down.weight.grad[:, restored].abs().sum(dim=0) > 0).all())


@pytest.mark.parametrize(("kind", "layer"), [("heads", 0), ("ffn", 1)])
def test_a_slope_is_the_limit_of_the_finite_difference(kind, layer):
    dense, pruned, kept = pair()
    slope = getattr(mask_slopes(pruned, dense, kept=kept, batches=batches(), precision="fp32"), kind)[layer]
    units = getattr(kept, kind)[layer]
    removed = next(unit for unit in range(len(slope)) if unit not in units)
    assert not bool(slope[list(units)].any())
    more = {name: list(getattr(kept, name)) for name in ("heads", "ffn")}
    more[kind][layer] = tuple(sorted((*units, removed)))
    into = Kept(layers=kept.layers, heads=tuple(more["heads"]), ffn=tuple(more["ffn"]))
    model = expanded(pruned, dense, kept=kept, into=into, columns="dense")
    block = family_of(model).layers(model)[layer]
    module, size = (block.attention.output, 4) if kind == "heads" else (block.ffn.down, 1)
    place = getattr(into, kind)[layer].index(removed)
    columns = module.weight.detach()[:, place * size : (place + 1) * size].clone()
    step, losses = 1e-2, []
    for mask in (step, -step):
        module.weight.data[:, place * size : (place + 1) * size] = mask * columns
        losses.append(loss(model))
    assert slope[removed].item() == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=5e-3, abs=2e-5)


def test_neurons_return_in_multiples():
    dense = tiny_model(layers=3)
    masks = Masks.ones(widths_of(dense))
    for layer, stays in enumerate((8, 16, 8)):
        masks.ffn[layer][stays:] = False
    pruned, kept = cut(dense, masks)
    for fraction, most in ((0.2, 8), (0.5, 16), (0.99, 32)):
        model, _ = regrow(
            pruned, dense, kept=kept, batches=batches(), fraction=fraction, ffn_multiple=8, precision="fp32"
        )
        assert all(width % 8 == 0 for width in widths_of(model).ffn)
        assert sum(widths_of(model).ffn) == 32 + most


def test_nothing_returns_at_fraction_0_or_when_nothing_is_away():
    dense, pruned, kept = pair()
    model, same = regrow(pruned, dense, kept=kept, batches=batches(), fraction=0.0, ffn_multiple=1, precision="fp32")
    assert same == kept
    assert all(torch.equal(tensor, pruned.state_dict()[name]) for name, tensor in model.state_dict().items())
    whole = Kept.all(widths_of(dense))
    assert (
        regrow(dense, dense, kept=whole, batches=batches(), fraction=0.5, ffn_multiple=1, precision="fp32")[1] == whole
    )


def test_blocks_that_are_gone_come_back_and_dropped_layers_do_not():
    dense = tiny_model(layers=3)
    masks = Masks.ones(widths_of(dense))
    masks.heads[1][:] = masks.ffn[2][:] = False
    pruned, kept = cut(dense, masks)
    family_of(pruned).keep_layers_(pruned, (1, 2))
    kept = kept.after_dropping((1, 2))
    before = loss(pruned)
    model, more = regrow(pruned, dense, kept=kept, batches=batches(), fraction=0.5, ffn_multiple=1, precision="fp32")
    assert loss(model) <= before + 1e-6
    assert widths_of(model).heads == (2, 4)
    assert widths_of(model).ffn == (24, 12)
    assert more.layers == (1, 2)
    place = more.heads[0][0]
    dense_query = family_of(dense).layers(dense)[1].attention.query.weight[4 * place : 4 * place + 4]
    assert torch.equal(family_of(model).layers(model)[0].attention.query.weight[:4], dense_query)


def test_the_pruned_model_and_the_dense_one_are_left_as_they_were():
    dense, pruned, kept = pair()
    before = [{name: tensor.clone() for name, tensor in model.state_dict().items()} for model in (dense, pruned)]
    config = pruned.config.to_dict()
    regrow(pruned, dense, kept=kept, batches=batches(), fraction=0.5, ffn_multiple=1, precision="fp32")
    for model, old in zip((dense, pruned), before, strict=True):
        assert all(torch.equal(tensor, old[name]) for name, tensor in model.state_dict().items())
        assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
        assert not any(module._forward_pre_hooks for module in model.modules())
    assert pruned.config.to_dict() == config


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_every_family_grows_back_to_the_dense_model(model_type):
    dense = tiny_of_family(model_type)
    masks = some_masks(dense)
    pruned = copy.deepcopy(dense)
    cut_(pruned, masks)
    whole = Kept.all(widths_of(dense))
    model = expanded(pruned, dense, kept=whole.after(masks), into=whole, columns="dense")
    assert torch.equal(logits_of(model), logits_of(dense))
    assert model.config.to_dict() == dense.config.to_dict()


def test_a_record_that_does_not_fit_is_refused():
    dense, pruned, kept = pair()
    with pytest.raises(
        ModelError, match=r"names \(4, 4, 4\) heads and \(24, 24, 24\) neurons per layer, the model has"
    ):
        regrow(
            pruned,
            dense,
            kept=Kept.all(widths_of(dense)),
            batches=batches(),
            fraction=0.5,
            ffn_multiple=1,
            precision="fp32",
        )
    narrow = tiny_of_family()
    with pytest.raises(ModelError, match="structures of a model with 32 features do not fit into one with 16"):
        regrow(pruned, narrow, kept=kept, batches=batches(), fraction=0.5, ffn_multiple=1, precision="fp32")


def test_of_equal_demands_the_lower_layer_and_place_return_first():
    asked = [torch.tensor([9.0, 1.0, 1.0, 1.0])] * 2
    assert regrowth._restored(asked, [(0,), (0,)], fraction=0.5, multiple=1) == ((0, 1, 2, 3), (0,))
    assert regrowth._restored(asked, [(0,), (0,)], fraction=0.34, multiple=1) == ((0, 1, 2), (0,))
