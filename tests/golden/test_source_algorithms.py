"""The algorithms of the project's source documents, word by word, against what the settings make of them."""

import copy

import torch
from torch.nn.functional import cross_entropy

from secateur.budget.allocation import Limits, choose
from secateur.budget.prices import Prices
from secateur.config.criteria import CRITERIA
from secateur.families import family_of
from secateur.families.structures import Masks, Widths
from secateur.models.groups import of_ffn, with_masks
from secateur.models.surgery import cut_, masked, widths_of
from secateur.pruning.multipliers import apply_multipliers
from secateur.pruning.suppression import suppress_
from secateur.training.batches import batches_of
from secateur.training.objectives import forward
from tests.regularizer_steps import step_of
from tests.unit.pruning.prune_settings import prune_settings
from tests.unit.pruning.tiny import tiny_model, tiny_rows

DENSE = Widths(heads=(4, 4), ffn=(24, 24), head_dim=4)
NEURONS = Limits(structures=("ffn",), min_heads=1, min_neurons=1, ffn_multiple=1)
DIVISOR = 10_000.0
ROWS = tiny_rows(96)


def choose_neurons(model, *, fraction: float, multipliers=None, **changes) -> Masks:
    settings = prune_settings(multipliers=multipliers or {}, **{"criterion": "magnitude", "norm": "l2", **changes})
    batches = batches_of(ROWS, batch_size=16, pad_token_id=0)
    scores = CRITERIA[settings.criterion].structures(model, batches, precision="fp32", settings=settings.own)
    scores = apply_multipliers(scores, settings.multipliers, kept=None)
    prices = Prices(head=0, neuron=1, fixed=0)
    return choose(scores, fraction=fraction, dense=DENSE, prices=prices, limits=NEURONS)


def literal_norms(model) -> torch.Tensor:
    """The size of each neuron relative to its layer, by loops over single numbers' places: (2, 24)."""
    layers = []
    for layer in family_of(model).layers(model):
        (up,), down = layer.ffn.up, layer.ffn.down
        neurons = range(down.in_features)
        sizes = [torch.cat([up.weight[n], up.bias[n, None], down.weight[:, n]]).norm() for n in neurons]
        layers.append(torch.stack(sizes) / torch.stack(sizes).mean())
    return torch.stack(layers).detach()


def train_(model, *, steps: int, rate: float, trainable=None, after=None, optimizer=torch.optim.Adam) -> None:
    optimizer = optimizer(trainable or list(model.parameters()), lr=rate)
    batches = list(batches_of(ROWS, batch_size=16, pad_token_id=0))
    for step in range(steps):
        batch = batches[step % len(batches)]
        loss = cross_entropy(forward(model.eval(), batch, precision="fp32"), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if after is not None:
            after(rate, step / (steps - 1))


def test_the_smallest_weights_are_divided_by_10_000_round_after_round_and_then_removed():
    """Loop: sort by size, divide the k smallest by 10 000, train, repeat; what is small at the end is removed."""
    model = tiny_model()
    literal = copy.deepcopy(model)
    already, by_hand = None, set()
    for num_kept in (42, 36, 30):
        norms = literal_norms(literal).flatten()
        smallest = {int(place) for place in norms.argsort()[: 48 - num_kept]}
        for place in smallest - by_hand:
            ffn = family_of(literal).layers(literal)[place // 24].ffn
            (up,), down = ffn.up, ffn.down
            with torch.no_grad():
                up.weight[place % 24] /= DIVISOR
                up.bias[place % 24] /= DIVISOR
                down.weight[:, place % 24] /= DIVISOR
        by_hand = smallest

        masks = choose_neurons(model, fraction=num_kept / 48)
        assert {int(place) for place in (~torch.cat(masks.ffn)).nonzero()} == smallest
        suppress_(model, masks, divisor=DIVISOR, already=already)
        already = masks
        for (_, ours), (_, theirs) in zip(model.named_parameters(), literal.named_parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-12)
        # The same short training on both; the same weights go on, so that rounding does not grow.
        train_(model, steps=3, rate=1e-4)
        literal.load_state_dict(model.state_dict())

    last = choose_neurons(model, fraction=30 / 48)
    assert {int(place) for place in (~torch.cat(last.ffn)).nonzero()} == by_hand, "what was suppressed stays small"
    (batch, *_) = batches_of(ROWS, batch_size=16, pad_token_id=0)
    with torch.no_grad(), masked(model, last):
        expected = forward(model, batch, precision="fp32")
        suppressed = forward(model, batch, precision="fp32")
    cut_(model, last)
    assert sum(widths_of(model).ffn) == 30
    with torch.no_grad():
        torch.testing.assert_close(forward(model, batch, precision="fp32"), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(suppressed, expected)


def test_a_suppressed_unit_whose_weights_grow_again_is_rescued():
    """Only the suppressed neuron may learn, so the loss makes it grow; the next round then chooses others."""
    model = tiny_model()
    first = choose_neurons(model, fraction=44 / 48)
    suppress_(model, first, divisor=DIVISOR, already=None)
    before = literal_norms(model)
    trainable = [p for layer in family_of(model).layers(model) for p in of_ffn(layer.ffn).parameters()]
    neurons = list(with_masks(model, first))[1::2]
    state = {parameter: parameter.detach().clone() for parameter in trainable}

    def hold(_rate, _progress) -> None:
        # Every neuron that was not suppressed is put back: only those in question move.
        for groups, mask in neurons:
            for parameter in groups.parameters():
                keep = mask if parameter is groups.columns.weight or parameter.dim() == 1 else mask[:, None]
                parameter.data = torch.where(keep, state[parameter], parameter.data)

    train_(model, steps=150, rate=2e-2, trainable=trainable, after=hold)
    second = choose_neurons(model, fraction=44 / 48)
    rescued = (~torch.cat(first.ffn)) & torch.cat(second.ffn)
    assert bool(rescued.any()), "they have grown past others"
    grown = literal_norms(model).flatten()
    assert bool((grown[rescued] > 100 * before.flatten()[rescued]).all())
    state = {parameter: parameter.detach().clone() for parameter in trainable}
    suppress_(model, second, divisor=DIVISOR, already=first)
    for (groups, _), places in zip(neurons, rescued.view(2, 24), strict=True):
        (up,), down = groups.rows, groups.columns
        assert torch.equal(up.weight[places], state[up.weight][places]), "a rescued unit is left as it is"
        assert torch.equal(down.weight[:, places], state[down.weight][:, places])


def test_z_is_z_reg_minus_lambda_z():
    """Loop: a gradient step gives z_reg, then z <- z_reg - lambda * z for every prunable weight."""
    strength, rate = 0.02, 0.05
    model, literal = tiny_model(), tiny_model()
    constraint = step_of(model, "l2", strength=strength / rate)

    def by_the_settings(learning_rate, progress) -> None:
        constraint.after_step_(learning_rate=learning_rate, progress=progress)

    def by_the_book(_rate, _progress) -> None:
        for groups, _ in with_masks(literal, Masks.ones(widths_of(literal))):
            for z_reg in groups.parameters():
                z_reg.data = z_reg.data - strength * z_reg.data

    # Plain descent: Adam would blow up the rounding of gradients that are zero, as those of key biases are.
    train_(model, steps=20, rate=rate, after=by_the_settings, optimizer=torch.optim.SGD)
    train_(literal, steps=20, rate=rate, after=by_the_book, optimizer=torch.optim.SGD)
    for (name, ours), (_, theirs) in zip(model.named_parameters(), literal.named_parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6, msg=name)
    untouched = tiny_model()
    train_(untouched, steps=20, rate=rate, optimizer=torch.optim.SGD)
    shrunk, free = (sum(p.square().sum() for p in m.bert.encoder.parameters()) for m in (model, untouched))
    assert float(shrunk.detach()) < 0.8 * float(free.detach())


def test_regularising_while_training_and_then_ranking_by_size():
    """The combination: group lasso in training, magnitude afterwards; zeroed neurons go first and cost nothing."""
    model = tiny_model()
    constraint = step_of(model, "group_lasso", strength=0.7)
    train_(
        model,
        steps=60,
        rate=5e-3,
        after=lambda lr, progress: constraint.after_step_(learning_rate=lr, progress=progress),
    )
    zero = literal_norms(model).flatten() == 0
    assert 4 <= int(zero.sum()) < 48
    masks = choose_neurons(model, fraction=1.0 - 4 / 48)
    assert bool(zero[~torch.cat(masks.ffn)].all())
    (batch, *_) = batches_of(ROWS, batch_size=16, pad_token_id=0)
    with torch.no_grad():
        before = forward(model.eval(), batch, precision="fp32")
        cut_(model, masks)
        torch.testing.assert_close(forward(model, batch, precision="fp32"), before, rtol=0, atol=1e-5)


def test_the_preset_table_decides_before_the_size_does():
    model = tiny_model()
    table = {"layers.*.heads": 1.0, "layers.*.ffn": 1.0, "layers.0.ffn": 0.0, "layers.0.ffn.3": float("inf")}
    masks = choose_neurons(model, fraction=0.6, criterion="fixed_weight", multipliers=table)
    assert int(masks.ffn[0].sum()) == 24 - 20  # 0.4 of 48 neurons are 19.2, and 23 of layer 0 go before any other
    assert bool(masks.ffn[0][3])
    assert bool(masks.ffn[1].all())
