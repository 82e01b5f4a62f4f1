import copy

import pytest
import torch

from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.structures import Masks
from secateur.models.surgery import cut_, masked, widths_of
from secateur.pruning.repair import repair_, silence_
from secateur.pruning.selection import Calibration, Dense, calibrate
from secateur.second_order.blocks import blocks_of, masks_of_blocks
from secateur.second_order.taps import tapped
from secateur.training.batches import batches_of
from secateur.training.objectives import forward
from tests.tiny_models import tiny_generator
from tests.unit.pruning.prune_settings import prune_settings
from tests.unit.pruning.tiny import tiny_model, tiny_rows
from tests.unit.second_order.tiny import batches, distance, logits

MODES = ("bias", "scales", "least_squares")


def masks_of(model, *, heads=(2, 3), ffn=(10, 16)) -> Masks:
    """Keep the first units."""
    widths = widths_of(model)
    return Masks(
        heads=tuple(torch.arange(count) < kept for count, kept in zip(widths.heads, heads, strict=True)),
        ffn=tuple(torch.arange(count) < kept for count, kept in zip(widths.ffn, ffn, strict=True)),
    )


def repaired(model, masks, mode, **changes):
    changed = copy.deepcopy(model)
    repair_(changed, masks, dense=model, batches=batches, mode=mode, seed=0, precision="fp32", **changes)
    return changed


def test_without_a_mode_the_model_is_the_masked_one():
    model = tiny_model()
    masks = masks_of(model)
    silent = repaired(model, masks, "none")
    with masked(model, masks):
        torch.testing.assert_close(logits(silent), logits(model), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_removed_nothing_changed(mode):
    model = tiny_model()
    found = repaired(model, Masks.ones(widths_of(model)), mode)
    torch.testing.assert_close(logits(found), logits(model), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weighting", ["tokens", "fisher"])
def test_more_freedom_comes_closer_to_the_dense_model(weighting):
    model = tiny_model()
    masks = masks_of(model)
    distances = [distance(repaired(model, masks, mode, weighting=weighting), model) for mode in ("none", "bias")]
    distances.append(distance(repaired(model, masks, "least_squares", weighting=weighting), model))
    assert distances[0] > 2.0 * distances[1] > 2.0 * distances[2]


def test_the_dense_model_is_left_as_it_was():
    model = tiny_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    repaired(model, masks_of(model), "least_squares")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("mode", MODES)
def test_removed_units_are_silent_and_the_cut_changes_nothing(mode):
    model = tiny_model()
    masks = masks_of(model, heads=(0, 3), ffn=(10, 0))
    full = repaired(model, masks, mode)
    assert not bool(blocks_of(full)[0].projection.weight.any())
    assert not bool(blocks_of(full)[2].projection.weight[:, 10:].any())
    compact = copy.deepcopy(full)
    cut_(compact, masks)
    torch.testing.assert_close(logits(compact), logits(full), rtol=1e-4, atol=1e-5)


def test_a_block_without_units_keeps_the_mean_of_what_it_put_out():
    model = tiny_model(layers=1)
    masks = masks_of(model, heads=(4,), ffn=(0,))
    outputs = []
    handle = blocks_of(model)[1].projection.register_forward_hook(lambda *given: outputs.append(given[2].detach()))
    for batch in batches():
        with torch.no_grad():
            model(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
        outputs[-1] = outputs[-1][batch.attention_mask.bool()]
    handle.remove()
    found = repaired(model, masks, "bias", weighting="tokens")
    torch.testing.assert_close(blocks_of(found)[1].projection.bias.detach(), torch.cat(outputs).mean(dim=0))


def test_the_first_block_is_the_least_squares_fit_of_the_dense_output():
    model = tiny_model(layers=1)
    masks = masks_of(model, heads=(2,), ffn=(24,))
    inputs, outputs = [], []
    block = blocks_of(model)[0]

    def remember(_, given, output):
        inputs.append(given[0].detach())
        outputs.append(output.detach())

    handle = block.projection.register_forward_hook(remember)
    keeps = []
    for batch in batches():
        with torch.no_grad():
            model(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
        keeps.append(batch.attention_mask.bool())
    handle.remove()
    x = torch.cat([given[keep] for given, keep in zip(inputs, keeps, strict=True)]).double()[:, :8]
    y = torch.cat([given[keep] for given, keep in zip(outputs, keeps, strict=True)]).double()
    x = torch.cat([x, torch.ones(len(x), 1)], dim=1)
    start = block.extended_weight()[:, [*range(8), 16]]
    ridge = torch.eye(9, dtype=torch.float64) * 0.01 * (x.T @ x).diagonal()[:8].mean()
    ridge[-1, -1] = 0.0
    expected = start + torch.linalg.solve(x.T @ x + ridge, x.T @ (y - x @ start.T)).T
    found = repaired(model, masks, "least_squares", weighting="tokens")
    torch.testing.assert_close(
        blocks_of(found)[0].extended_weight()[:, [*range(8), 16]], expected, rtol=1e-3, atol=1e-5
    )


@torch.no_grad()
def _seen(model, place: int, rows):
    """Return what goes into the entry of a block, and into and out of its projection, at every real token."""
    block, found = blocks_of(model)[place], []
    with tapped([block.entry, block.projection]) as taps:
        for batch in rows():
            forward(model, batch, precision="fp32")
            keep = batch.attention_mask.bool()
            parts = taps[0].inputs, taps[1].inputs, taps[1].outputs
            found.append([part[keep].double() for part in parts])
    return (torch.cat(parts) for parts in zip(*found, strict=True))


@pytest.mark.parametrize("family", ["bert", "llama", "gemma3_text"])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_later_block_makes_up_for_the_drift_of_the_stream_before_it(family, step):
    """The fit of one block, by hand: all blocks before it are as repaired, it and those behind it only silenced."""
    model = tiny_model() if family == "bert" else tiny_generator(family)
    widths = widths_of(model)
    half = Masks(
        heads=tuple(torch.arange(count) < count // 2 for count in widths.heads),
        ffn=tuple(torch.arange(count) < count // 2 for count in widths.ffn),
    )
    rows = batches if family == "bert" else lambda: batches_of(tiny_rows(96), batch_size=16, pad_token_id=0)
    found = copy.deepcopy(model)
    repair_(found, half, dense=model, batches=rows, mode="least_squares", seed=0, precision="fp32", weighting="tokens")
    # Attention and feed-forward part, layer after layer.
    order = [place for layer in range(len(widths.heads)) for place in (layer, layer + len(widths.heads))]
    place = order[step]
    before = copy.deepcopy(found)
    for later in order[step:]:
        start = blocks_of(model)[later].extended_weight()
        blocks_of(before)[later].write_(start)
        silence_(blocks_of(before)[later], masks_of_blocks(half)[later])
    entry, inputs, outputs = _seen(before, place, rows)
    dense_entry, _, dense_outputs = _seen(model, place, rows)
    drift = dense_entry - entry if family_of(model).adds_directly else 0.0
    block = blocks_of(before)[place]
    kept = block.inputs_kept(masks_of_blocks(half)[place])
    has_bias = block.projection.bias is not None
    x = torch.cat([inputs, torch.full((len(inputs), 1), float(has_bias)).double()], dim=1)[:, kept]
    gram = x.T @ x
    ridge = 0.01 * gram.diagonal()[:-1].mean() * torch.eye(len(gram), dtype=torch.float64)
    ridge[-1, -1] = 0.0 if has_bias else 1.0
    change = torch.linalg.solve(gram + ridge, x.T @ (dense_outputs - outputs + drift)).T
    expected = block.extended_weight()
    expected[:, kept] += change
    torch.testing.assert_close(blocks_of(found)[place].extended_weight(), expected, rtol=2e-3, atol=2e-4)


def test_a_model_of_another_depth_is_refused():
    model = tiny_model()
    with pytest.raises(ModelError, match="a model of 2 layers cannot be repaired after one of 3"):
        repair_(
            model, masks_of(model), dense=tiny_model(layers=3), batches=batches, mode="bias", seed=0, precision="fp32"
        )


@pytest.mark.parametrize(
    ("criterion", "repair"), [("obs", "none"), ("obs", "bias"), ("fisher", "none"), ("magnitude", "bias")]
)
def test_what_is_drawn_follows_the_seed_of_the_round(criterion, repair):
    settings = prune_settings(criterion=criterion, repair=repair, budget={"macs": 0.6}, ffn_multiple=1)

    def cut(seed: int) -> torch.Tensor:
        model = tiny_model()
        calibration = Calibration(rows=tiny_rows(48), settings=settings, seed=seed, precision="fp32")
        calibrate(model, calibration, dense=Dense(config=model.config), kept=None).select_(model, target=0.6)
        return logits(model)

    once, again, other = cut(1), cut(1), cut(2)
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
