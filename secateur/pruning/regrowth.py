"""Regrowth: removed structures come back where the gradient asks for them."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.linears import linear_from
from secateur.families.structures import Ffn, Kept
from secateur.models.groups import Groups, of_attention, of_ffn
from secateur.models.hooks import hooked
from secateur.models.surgery import widths_of
from secateur.training.batches import Batch
from secateur.training.mask_gradients import graph_from_embeddings, mask_gradients
from secateur.training.objectives import summed_loss

Columns = Literal["dense", "zero"]
"""What the output columns of a restored unit hold."""


@dataclass(frozen=True)
class Slopes:
    """dL/dm at m = 0 of a mask on every removed unit, its weights being the dense ones; 0 = is there already.

    Attributes:
        heads: per layer of the pruned model, (dense H,) fp32.
        ffn: per layer of the pruned model, (dense F,) fp32.
    """

    heads: tuple[Tensor, ...]
    ffn: tuple[Tensor, ...]


def regrow(
    pruned: PreTrainedModel,
    dense: PreTrainedModel,
    *,
    kept: Kept,
    batches: Iterable[Batch],
    fraction: float,
    ffn_multiple: int,
    precision: Precision,
) -> tuple[PreTrainedModel, Kept]:
    """Return a copy of a pruned model to which the structures that the gradient asks for most have come back.

    Of the removed heads and of the removed neurons of all layers, the ``fraction`` with the largest ``|dL/dm|`` returns
    (rounded down, neurons in blocks that leave a layer's width a multiple), with the dense rows of query, key, value or
    up projection. Their output columns are the dense ones if these lower the loss on the calibration rows, as they do
    right after a cut; else they are zero, because what was left has learned to do without them. So the loss on these
    rows never rises, and zero columns still learn: their first gradient is not zero, because their inputs are not.

    Sources: RigL (Evci et al. 2020, section 3) grows single weights by the size of their gradient, from zero; SET
    (Mocanu et al. 2018) grows at random. Measured on MiniLM-L6, cut to 0.4 of dense MACs without training, 0.3 of the
    removed units back, validation macro-F1: 0.633 with dense columns, 0.594 with zero ones, as before; 0.446 with dense
    columns for the units with dL/dm < 0 alone, whose steps add up to more than the slope is good for.

    To end at a budget with density d after regrowth, cut to ``1 - (1 - d) / (1 - fraction)`` first.

    Args:
        pruned: left as it is.
        dense: the model it was cut from, with the same hidden size.
        kept: which dense units ``pruned`` has.
        batches: calibration rows with labels.
        fraction: of the removed units of each kind, in [0, 1).
        ffn_multiple: neurons return in such blocks; the last block of a layer fills it to its dense width.
        precision: arithmetic of the matrix products.

    Raises:
        ModelError: ``kept`` does not fit the models, or they have other hidden sizes.
    """
    _check_fit(pruned, dense, kept=kept)
    rows = list(batches)
    slopes = mask_slopes(pruned, dense, kept=kept, batches=rows, precision=precision)
    heads = _restored([slope.abs() for slope in slopes.heads], kept.heads, fraction=fraction, multiple=1)
    ffn = _restored([slope.abs() for slope in slopes.ffn], kept.ffn, fraction=fraction, multiple=ffn_multiple)
    more = Kept(layers=kept.layers, heads=heads, ffn=ffn)
    quiet = expanded(pruned, dense, kept=kept, into=more, columns="zero")
    useful = expanded(pruned, dense, kept=kept, into=more, columns="dense")
    before, after = (_loss(model, rows, precision=precision) for model in (quiet, useful))
    return (useful if after < before else quiet), more


def mask_slopes(
    pruned: PreTrainedModel, dense: PreTrainedModel, *, kept: Kept, batches: Iterable[Batch], precision: Precision
) -> Slopes:
    """Return how the loss would change if the removed units came back; see ``Slopes``.

    L is the mean loss over the rows: rows that ask for opposite things cancel, because one step of training serves
    them all (RigL takes the gradient of a batch).
    """
    everything = _everything(dense, kept)
    model = expanded(pruned, dense, kept=kept, into=everything, columns="dense")
    layers = family_of(model).layers(model)
    groups = [of_attention(layer.attention) for layer in layers] + [of_ffn(layer.ffn) for layer in layers]
    units = [*zip(kept.heads, everything.heads, strict=True), *zip(kept.ffn, everything.ffn, strict=True)]
    masks = [_places(few, many) for few, many in units]
    slopes = _mask_slopes(model, groups, masks, batches=batches, precision=precision)
    removed = [slope.masked_fill(mask, 0.0) for slope, mask in zip(slopes, masks, strict=True)]
    return Slopes(heads=tuple(removed[: len(layers)]), ffn=tuple(removed[len(layers) :]))


def expanded(
    pruned: PreTrainedModel, dense: PreTrainedModel, *, kept: Kept, into: Kept, columns: Columns
) -> PreTrainedModel:
    """Return a copy of ``pruned`` with the units ``into``: its own ones as they are, the others with dense weights.

    Args:
        pruned: left as it is.
        dense: where the restored weights come from.
        kept: which dense units ``pruned`` has.
        into: a superset, ascending.
        columns: what the output columns of the others hold.
    """
    model = copy.deepcopy(pruned)
    family, sources = family_of(model), family_of(dense).layers(dense)
    for index, (layer, number) in enumerate(zip(family.layers(model), kept.layers, strict=True)):
        heads = _Placing(kept.heads[index], into.heads[index], columns=columns)
        ffn = _Placing(kept.ffn[index], into.ffn[index], columns=columns)
        if heads.changes:
            source = sources[number].attention
            (query, key, value), output = heads.merged(of_attention(layer.attention), of_attention(source))
            columns_of = None if source.numbers is None else tuple(source.numbers[head] for head in into.heads[index])
            attention = replace(layer.attention, query=query, key=key, value=value, output=output, numbers=columns_of)
            family.replace_attention_(model, index, attention)
        if ffn.changes:
            ups, down = ffn.merged(of_ffn(layer.ffn), of_ffn(sources[number].ffn))
            family.replace_ffn_(model, index, Ffn(up=ups, down=down))
    family.write_widths_(model.config, widths_of(model))
    return model


@dataclass(frozen=True)
class _Placing:
    """Where the units of a layer go when others join them."""

    kept: tuple[int, ...]
    into: tuple[int, ...]
    columns: Columns

    @property
    def changes(self) -> bool:
        return self.kept != self.into

    def merged(self, own: Groups, source: Groups) -> tuple[tuple[nn.Linear, ...], nn.Linear]:
        """Return the linears with the rows and columns of both."""
        numbers, own_places = torch.tensor(self.into, dtype=torch.int64), _places(self.kept, self.into)
        rows: list[nn.Linear] = []
        for mine, theirs, size in zip(own.rows, source.rows, own.row_sizes, strict=True):
            wanted, places = _features(numbers, size), own_places.repeat_interleave(size)
            weight = _placed(mine.weight, theirs.weight[wanted.to(theirs.weight.device)], places, dim=0)
            bias = None
            if mine.bias is not None:
                others = torch.zeros(len(wanted)) if theirs.bias is None else theirs.bias[wanted]
                bias = _placed(mine.bias, others, places, dim=0)
            rows.append(linear_from(weight, bias))
        features, own_places = _features(numbers, own.unit_size), own_places.repeat_interleave(own.unit_size)
        restored = source.columns.weight[:, features]
        weight = own.columns.weight
        filler = restored if self.columns == "dense" else torch.zeros_like(restored)
        bias = None if own.columns.bias is None else own.columns.bias.detach().clone()
        return tuple(rows), linear_from(_placed(weight, filler, own_places, dim=1), bias)


def _features(units: Tensor, size: int) -> Tensor:
    """Return the numbers of the features of some units, (units * size,)."""
    return (units[:, None] * size + torch.arange(size)).reshape(-1)


def _placed(own: Tensor, filler: Tensor, places: Tensor, *, dim: int) -> Tensor:
    """Return ``filler`` with the slices at ``places`` replaced by those of ``own``, in order."""
    merged = filler.detach().to(own).clone()
    merged[(slice(None),) * dim + (places.to(own.device),)] = own.detach()
    return merged


def _places(kept: Sequence[int], into: Sequence[int]) -> Tensor:
    """Return which of ``into`` are in ``kept``, (len(into),) bool."""
    return torch.isin(torch.tensor(into, dtype=torch.int64), torch.tensor(kept, dtype=torch.int64))


def _mask_slopes(
    model: PreTrainedModel,
    groups: Sequence[Groups],
    masks: Sequence[Tensor],
    *,
    batches: Iterable[Batch],
    precision: Precision,
) -> list[Tensor]:
    """Return dL/dm of every unit at the given masks, L the mean over the rows."""
    model.eval()
    totals = [torch.zeros(len(mask)) for mask in masks]
    num_rows = 0
    taps = [_Tap(mask.repeat_interleave(of.unit_size)) for of, mask in zip(groups, masks, strict=True)]
    silencing = [(of.columns, tap.hook) for of, tap in zip(groups, taps, strict=True)]
    with graph_from_embeddings(model), hooked(before=silencing):
        for batch in (host_batch.to(model.device) for host_batch in batches):
            loss = summed_loss(model, batch, precision=precision)
            gradients = torch.autograd.grad(loss, [tap.masked for tap in taps])
            for total, tap, of, gradient in zip(totals, taps, groups, gradients, strict=True):
                total.add_(mask_gradients(tap.output, gradient, unit_size=of.unit_size).sum(dim=0).cpu())
            num_rows += len(batch.labels)
    return [total / num_rows for total in totals]


class _Tap:
    """Silences features on their way into a linear, and remembers them with and without the mask."""

    def __init__(self, mask: Tensor) -> None:
        self._mask = mask
        self.output = self.masked = mask

    def hook(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        self.output = inputs[0]
        self.masked = inputs[0] * self._mask.to(inputs[0])
        return (self.masked, *inputs[1:])


@torch.no_grad()
def _loss(model: PreTrainedModel, batches: Sequence[Batch], *, precision: Precision) -> float:
    model.eval()
    total, num_rows = 0.0, 0
    for batch in (host_batch.to(model.device) for host_batch in batches):
        total += float(summed_loss(model, batch, precision=precision))
        num_rows += len(batch.labels)
    return total / num_rows


def _restored(
    asked: Sequence[Tensor], kept: Sequence[tuple[int, ...]], *, fraction: float, multiple: int
) -> tuple[tuple[int, ...], ...]:
    """Return the units of each layer after the return of the best ones; of equal ones the lower place comes first."""
    blocks: list[tuple[float, int, int, list[int]]] = []
    for layer, (values, units) in enumerate(zip(asked, kept, strict=True)):
        num_removed = len(values) - len(units)
        ranked = values.index_fill(0, torch.tensor(units, dtype=torch.int64), -torch.inf)
        order = ranked.argsort(descending=True, stable=True)[:num_removed].tolist()
        start, width = 0, len(units)
        while start < num_removed:
            size = min(multiple - width % multiple, num_removed - start)
            block = order[start : start + size]
            blocks.append((-float(values[block].mean()), layer, start, block))
            start, width = start + size, width + size
    allowed = int(fraction * sum(len(block) for *_, block in blocks) + 1e-9)
    grown = [list(units) for units in kept]
    closed: set[int] = set()
    for _, layer, _, block in sorted(blocks):
        # A block that is too large closes its layer: the next one would leave a gap in the multiples.
        if layer in closed or len(block) > allowed:
            closed.add(layer)
            continue
        grown[layer].extend(block)
        allowed -= len(block)
    return tuple(tuple(sorted(units)) for units in grown)


def _everything(dense: PreTrainedModel, kept: Kept) -> Kept:
    """Return all dense units of the layers that are there."""
    return Kept.all(widths_of(dense)).after_dropping(kept.layers)


def _check_fit(pruned: PreTrainedModel, dense: PreTrainedModel, *, kept: Kept) -> None:
    widths, whole = widths_of(pruned), widths_of(dense)
    named = tuple(map(len, kept.heads)), tuple(map(len, kept.ffn))
    if named != (widths.heads, widths.ffn):
        raise ModelError(
            f"the record of what is kept names {named[0]} heads and {named[1]} neurons per layer, "
            f"the model has {widths.heads} and {widths.ffn}"
        )
    sizes = [family_of(model).hidden_size(model.config) for model in (pruned, dense)]
    if sizes[0] != sizes[1] or widths.head_dim != whole.head_dim:
        raise ModelError(f"structures of a model with {sizes[1]} features do not fit into one with {sizes[0]}")
