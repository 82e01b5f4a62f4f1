"""Which structures go: one ranking over the whole model, cut off where the budget is met."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.config.prune import BudgetKind, PruneSettings, StructureKind
from secateur.errors import BudgetError
from secateur.evaluation.cost import StructureCosts
from secateur.models.structures import Masks, Widths
from secateur.pruning.scores import Scores

_SLACK = 1e-9
"""Rounding of a fraction of dense: a budget of 0.3 is met by exactly three of ten equal parts."""


@dataclass(frozen=True)
class Limits:
    """What the choice must respect.

    Attributes:
        structures: kinds that may go.
        min_heads: heads that stay in every layer.
        ffn_multiple: neurons stay in multiples of this; one multiple always stays in every layer.
    """

    structures: tuple[StructureKind, ...]
    min_heads: int
    ffn_multiple: int

    @classmethod
    def of(cls, settings: PruneSettings) -> "Limits":
        """Take the limits out of the ``prune`` section."""
        return cls(settings.structures, min_heads=settings.min_heads, ffn_multiple=settings.ffn_multiple)


@dataclass(frozen=True)
class Prices:
    """What is saved by removing a structure, in the unit of the budget, as integers."""

    head: int
    neuron: int
    fixed: int

    @classmethod
    def of(cls, costs: StructureCosts, kind: BudgetKind) -> "Prices":
        """Take one column of the cost table."""
        if kind == "macs":
            return cls(head=costs.head.macs, neuron=costs.neuron.macs, fixed=costs.fixed.macs)
        return cls(head=costs.head.params, neuron=costs.neuron.params, fixed=costs.fixed.params)

    def total(self, widths: Widths) -> int:
        """Return the price of a whole model."""
        return self.fixed + sum(widths.heads) * self.head + sum(widths.ffn) * self.neuron


@dataclass(frozen=True)
class _Removal:
    """One step of the ranking: the units of one layer that go together."""

    rank: tuple[float, int, int, int]
    price: int
    mask: Tensor
    units: list[int]


def choose(scores: Scores, *, fraction: float, dense: Widths, prices: Prices, limits: Limits) -> Masks:
    """Choose what stays so that the price is at most ``fraction`` of the dense model's.

    All heads and blocks of neurons stand in one ranking by importance per price; the least important go, one
    after the other, until the budget is met. So a lower budget always keeps a subset of what a higher one
    keeps, no more goes than needed, and of equal scores the unit with the higher index goes first.

    Args:
        scores: of the model as it is now; its widths are those of the scores.
        fraction: of the dense price, in (0, 1].
        dense: widths of the dense model, the reference of ``fraction``.
        prices: of one head and one neuron.
        limits: what must stay.

    Raises:
        BudgetError: the limits keep more than the budget allows; the message names what can be reached.
    """
    current = Widths(
        heads=tuple(len(layer) for layer in scores.heads),
        ffn=tuple(len(layer) for layer in scores.ffn),
        head_dim=dense.head_dim,
    )
    check_reachable(fraction=fraction, current=current, dense=dense, prices=prices, limits=limits)
    masks = Masks.ones(current)
    excess = prices.total(current) - (fraction + _SLACK) * prices.total(dense)
    for removal in _ranking(scores, masks, prices=prices, limits=limits):
        if excess <= 0:
            break
        removal.mask[removal.units] = False
        excess -= removal.price
    return masks


def check_reachable(*, fraction: float, current: Widths, dense: Widths, prices: Prices, limits: Limits) -> None:
    """Refuse a budget that the limits put out of reach; needs shapes only, no model.

    Raises:
        BudgetError: names the smallest fraction that can be reached.
    """
    floor = smallest(current, limits=limits)
    reachable = prices.total(floor) / prices.total(dense)
    if fraction + _SLACK < reachable:
        raise BudgetError(
            f"prune.budget of {fraction:g} is not reachable: with structures={'+'.join(limits.structures)}, "
            f"min_heads={limits.min_heads} and ffn_multiple={limits.ffn_multiple} the smallest model is "
            f"{reachable:.4f} of dense; ask for {_round_up(reachable):g} or more"
        )


def smallest(widths: Widths, *, limits: Limits) -> Widths:
    """Return the widths that are left when everything goes that may go."""
    heads, ffn = widths.heads, widths.ffn
    if "heads" in limits.structures:
        heads = tuple(min(count, limits.min_heads) for count in heads)
    if "ffn" in limits.structures:
        ffn = tuple(min(count, limits.ffn_multiple) for count in ffn)
    return Widths(heads=heads, ffn=ffn, head_dim=widths.head_dim)


def achieved(widths: Widths, *, dense: Widths, prices: Prices) -> float:
    """Return the price as a fraction of dense."""
    return prices.total(widths) / prices.total(dense)


def _ranking(scores: Scores, masks: Masks, *, prices: Prices, limits: Limits) -> list[_Removal]:
    """List everything that may go, the least important first."""
    removals: list[_Removal] = []
    kinds: tuple[tuple[StructureKind, Sequence[Tensor], Sequence[Tensor], int, int, int], ...] = (
        ("heads", scores.heads, masks.heads, prices.head, 1, limits.min_heads),
        ("ffn", scores.ffn, masks.ffn, prices.neuron, limits.ffn_multiple, limits.ffn_multiple),
    )
    for number, (kind, layers, keeps, price, multiple, least) in enumerate(kinds):
        if kind not in limits.structures:
            continue
        for layer, (values, keep) in enumerate(zip(layers, keeps, strict=True)):
            for place, units in enumerate(_blocks(values, multiple=multiple, least=least)):
                worth = float(values[units].double().mean()) / price
                removals.append(_Removal((worth, number, layer, place), price * len(units), keep, units))
    return sorted(removals, key=lambda removal: removal.rank)


def _blocks(values: Tensor, *, multiple: int, least: int) -> Iterator[list[int]]:
    """Yield the units that go together, least important first, down to ``least`` units.

    The first block takes the width down to a multiple, every other one is a multiple.
    """
    backwards = values.flip(0).argsort(stable=True)  # stable and reversed: of equals, the higher index first
    order = (len(values) - 1 - backwards).tolist()
    start, removable = 0, len(values) - least
    while start < removable:
        size = (len(values) - start) % multiple or multiple
        yield order[start : start + size]
        start += size


def _round_up(fraction: float) -> float:
    """Round up to four digits, so that the number in the message works when it is typed."""
    return float(torch.tensor(fraction * 10_000, dtype=torch.float64).ceil()) / 10_000
