"""Which structures go: one ranking over the whole model, cut off where the budget is met."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from secateur.budget.prices import Prices, PriceTable
from secateur.budget.scores import Scores
from secateur.config.prune import PruneSettings, StructureKind
from secateur.errors import BudgetError
from secateur.families.structures import Masks, Widths

_SLACK = 1e-9
"""Rounding of a fraction of dense: a budget of 0.3 is met by exactly three of ten equal parts."""


@dataclass(frozen=True)
class Limits:
    """What the choice must respect.

    Attributes:
        structures: kinds that may go.
        min_heads: heads that stay in every layer; 0 lets whole attention blocks go.
        ffn_multiple: neurons stay in multiples of this.
        min_neurons: neurons that stay in every layer, rounded up to a multiple; 0 lets whole blocks go.
    """

    structures: tuple[StructureKind, ...]
    min_heads: int
    ffn_multiple: int
    min_neurons: int = 1

    @classmethod
    def of(cls, settings: PruneSettings) -> "Limits":
        """Take the limits out of the ``prune`` section."""
        return cls(
            settings.structures,
            min_heads=settings.min_heads,
            ffn_multiple=settings.ffn_multiple,
            min_neurons=settings.min_neurons,
        )

    def kept_heads(self, count: int, *, protected: int = 0) -> tuple[int, ...]:
        """Return the numbers of heads that may stay of ``count``, descending from ``count``.

        Args:
            count: heads of a layer as it is.
            protected: how many of them must stay.
        """
        least = max(self.min_heads, protected) if "heads" in self.structures else count
        return _steps(count, multiple=1, least=least)

    def kept_neurons(self, count: int, *, protected: int = 0) -> tuple[int, ...]:
        """Return the numbers of neurons that may stay of ``count``, descending; all but the first are multiples."""
        least = max(self.min_neurons, protected) if "ffn" in self.structures else count
        return _steps(count, multiple=self.ffn_multiple, least=least)

    def __str__(self) -> str:
        return (
            f"structures={'+'.join(self.structures)}, min_heads={self.min_heads}, "
            f"min_neurons={self.min_neurons} and ffn_multiple={self.ffn_multiple}"
        )


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
        scores: of the model as it is now; its widths are those of the scores. Infinity stays.
        fraction: of the dense price, in (0, 1].
        dense: widths of the dense model, the reference of ``fraction``.
        prices: of one head and one neuron.
        limits: what must stay.

    Raises:
        BudgetError: the limits or protected structures keep more than the budget allows; the message names what
            can be reached.
    """
    current = Widths(
        heads=tuple(len(layer) for layer in scores.heads),
        ffn=tuple(len(layer) for layer in scores.ffn),
        head_dim=dense.head_dim,
    )
    check_reachable(fraction=fraction, current=current, dense=dense, prices=prices, limits=limits)
    masks = Masks.ones(current)
    excess = prices.total(current) - (fraction + _SLACK) * prices.of_dense(dense)
    for removal in _ranking(scores, masks, prices=prices, limits=limits):
        if excess <= 0:
            return masks
        removal.mask[removal.units] = False
        excess -= removal.price
    if excess > 0:
        left = achieved(masks.widths(dense.head_dim), dense=dense, prices=prices)
        raise unreachable(fraction, reachable=left, prices=prices, why="with what prune.multipliers protect, ")
    return masks


def check_reachable(
    *,
    fraction: float,
    current: Widths,
    dense: Widths,
    prices: Prices | PriceTable,
    limits: Limits,
    asked: str | None = None,
) -> None:
    """Refuse a budget that the limits put out of reach; needs shapes only, no model.

    Args:
        fraction: of the dense price.
        current: widths before the cut; fewer layers than dense has, if depth was cut.
        dense: widths of the dense model.
        prices: of the structures; their kind names the entry of params.yaml.
        limits: what must stay.
        asked: the entry and its value, if the fraction comes from another one.

    Raises:
        BudgetError: names the smallest fraction that can be reached.
    """
    reachable = achieved(smallest(current, limits=limits), dense=dense, prices=prices)
    if fraction + _SLACK < reachable:
        raise unreachable(fraction, reachable=reachable, prices=prices, why=f"with {limits} ", asked=asked)


def unreachable(
    fraction: float, *, reachable: float, prices: Prices | PriceTable, why: str = "", asked: str | None = None
) -> BudgetError:
    """Say in the user's words that a budget is out of reach, and the nearest one that works when it is typed.

    Args:
        fraction: of dense, as it was asked for.
        reachable: the smallest fraction of dense that can be reached.
        prices: the unit of the budget.
        why: what keeps the model from getting smaller.
        asked: the entry of params.yaml and its value; taken from ``fraction`` if it is not given.
    """
    if prices.kind == "sparsity":
        best = math.floor((1.0 - reachable) * 10_000) / 10_000
        return BudgetError(
            f"{asked or f'prune.budget.sparsity={1.0 - fraction:g}'} is not reachable: "
            f"{why}at most {1.0 - reachable:.4f} of the encoder's weights can go; ask for {best:g} or less"
        )
    best = math.ceil(reachable * 10_000) / 10_000
    if isinstance(prices, PriceTable) and prices.runtime is not None:
        found = f"the smallest structure left runs at {reachable:.4f} of dense on {prices.runtime}"
    else:
        found = f"the smallest model is {reachable:.4f} of dense"
    return BudgetError(
        f"{asked or f'prune.budget.{prices.kind}={fraction:g}'} is not reachable: "
        f"{why}{found}; ask for {best:g} or more"
    )


def smallest(widths: Widths, *, limits: Limits) -> Widths:
    """Return the widths that are left when everything goes that may go."""
    return Widths(
        heads=tuple(limits.kept_heads(count)[-1] for count in widths.heads),
        ffn=tuple(limits.kept_neurons(count)[-1] for count in widths.ffn),
        head_dim=widths.head_dim,
    )


def achieved(widths: Widths, *, dense: Widths, prices: Prices | PriceTable) -> float:
    """Return the price as a fraction of dense."""
    return prices.total(widths) / prices.of_dense(dense)


def order_of_removal(values: Tensor) -> Tensor:
    """Return the units of a layer, first to go first; of equals, the higher index goes first.

    Args:
        values: (U,) scores.

    Returns:
        (U,) int64.
    """
    backwards = values.flip(0).argsort(stable=True)
    return len(values) - 1 - backwards


def num_protected(values: Tensor) -> int:
    """Count the units that must stay: a score of infinity."""
    return int(values.isinf().sum())


def _ranking(scores: Scores, masks: Masks, *, prices: Prices, limits: Limits) -> list[_Removal]:
    """List everything that may go, the least important first."""
    removals: list[_Removal] = []
    kinds: tuple[tuple[Sequence[Tensor], Sequence[Tensor], int], ...] = (
        (scores.heads, masks.heads, prices.head),
        (scores.ffn, masks.ffn, prices.neuron),
    )
    for number, (layers, keeps, price) in enumerate(kinds):
        kept = limits.kept_neurons if number else limits.kept_heads
        for layer, (values, keep) in enumerate(zip(layers, keeps, strict=True)):
            steps = kept(len(values), protected=num_protected(values))
            for place, units in enumerate(_blocks(values, steps)):
                worth = float(values[units].double().mean()) / price
                removals.append(_Removal((worth, number, layer, place), price * len(units), keep, units))
    return sorted(removals, key=lambda removal: removal.rank)


def _blocks(values: Tensor, kept: tuple[int, ...]) -> Iterator[list[int]]:
    """Yield the units that go together from one number of kept units to the next, least important first."""
    order: list[int] = order_of_removal(values).tolist()
    gone = [len(values) - count for count in kept]
    for start, end in pairwise(gone):
        yield order[start:end]


def _steps(count: int, *, multiple: int, least: int) -> tuple[int, ...]:
    """Return ``count`` and every multiple below it, down to ``least`` rounded up to a multiple."""
    floor = math.ceil(least / multiple) * multiple
    first = (count - 1) // multiple * multiple
    return (count, *range(first, floor - 1, -multiple)) if count > 0 else (count,)
