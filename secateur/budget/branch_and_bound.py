"""Whether a choice of widths is the best there is, and the better one where it is not."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

_log = logging.getLogger(__name__)

_Floats = npt.NDArray[np.float64]
_Places = npt.NDArray[np.int64]

MOST_STATES = 500_000
"""Partial choices that are kept at once; the hardest of 440 random problems of BERT-base's size had 1 208."""

_RELATIVE = 1e-9
"""What counts as less error, as a share of it: the last bits of sums are no reason to choose anew."""

_HALVINGS = 60


@dataclass(frozen=True)
class Choices:
    """What one block may be.

    Attributes:
        prices: (C,) of each choice.
        errors: (C,) of each.
    """

    prices: _Floats
    errors: _Floats


def improved(places: Sequence[int], blocks: Sequence[Choices], *, budget: float) -> list[int]:
    """Return the choices of least error within the budget: the given ones, or others if those are better.

    With a price of error lambda, ``L = sum_b min_c (error + lambda price) - lambda budget`` is below the error of
    everything that the budget allows (Lagrange; Fisher 1981). A choice that alone lifts L above the error at hand is in
    no better solution, so few are left; over these the frontier of price and error is followed block by block (Sinha
    and Zoltners 1979), without what L rules out. So the result is exact, whatever the prices are.

    Should more than ``MOST_STATES`` partial choices be left, the given ones are returned, and a warning says how far
    from the best they may be.

    Args:
        places: number of the choice in every block, within the budget.
        blocks: at least one.
        budget: of the sum of prices.
    """
    found = sum(float(block.errors[place]) for block, place in zip(blocks, places, strict=True))
    price = _best_price(blocks, budget=budget)
    bound = _bound(blocks, price, budget=budget)
    room = found - bound - _RELATIVE * abs(found)
    if room <= 0.0:
        return list(places)
    excess = [costs - costs.min() for costs in (block.errors + price * block.prices for block in blocks)]
    left = [np.flatnonzero(own <= room) for own in excess]
    search = _Frontier.start()
    for number, (block, own, kept) in enumerate(zip(blocks, excess, left, strict=True)):
        rest = [other.prices[rows] for other, rows in zip(blocks[number + 1 :], left[number + 1 :], strict=True)]
        least, most = (sum(float(end(prices)) for prices in rest) for end in (np.min, np.max))
        search = search.extended(
            Choices(block.prices[kept], block.errors[kept]), own[kept], kept, most_price=budget - least
        )
        # What stays unspent in the end costs lambda each, in the bound.
        unspent = price * np.maximum(budget - search.prices - most, 0.0)
        search = search.at(search.excess + unspent < room).undominated()
        if len(search.prices) > MOST_STATES:
            _log.warning(
                "the error of the widths is within %.2g of the least one (%.4g), which was not sought", room, found
            )
            return list(places)
    if not len(search.errors) or float(search.errors.min()) >= found - _RELATIVE * abs(found):
        return list(places)
    return search.path(int(search.errors.argmin()))


def _bound(blocks: Sequence[Choices], price: float, *, budget: float) -> float:
    return sum(float((block.errors + price * block.prices).min()) for block in blocks) - price * budget


def _best_price(blocks: Sequence[Choices], *, budget: float) -> float:
    """Return the lambda of about the highest bound: where the cheapest choices under it just cost the budget."""

    def spent(price: float) -> float:
        return sum(float(block.prices[(block.errors + price * block.prices).argmin()]) for block in blocks)

    low, high = 0.0, 1.0
    if spent(0.0) <= budget:
        return 0.0
    while spent(high) > budget and high < 1e300:
        high *= 4.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if spent(middle) > budget else (low, middle)
    return max((low, high), key=lambda price: _bound(blocks, price, budget=budget))


@dataclass(frozen=True)
class _Frontier:
    """Choices for the first blocks, each with the one it goes on from.

    Attributes:
        prices: (S,) sums.
        errors: (S,) sums.
        excess: (S,) by how much each lifts the bound.
        chosen: (S,) in the last block.
        parents: (S,) number of the state before.
        before: of one block less.
    """

    prices: _Floats
    errors: _Floats
    excess: _Floats
    chosen: _Places
    parents: _Places
    before: "_Frontier | None"

    @classmethod
    def start(cls) -> "_Frontier":
        zero, none = np.zeros(1), np.zeros(1, np.int64)
        return cls(zero, zero, zero, none, none, None)

    def extended(self, block: Choices, excess: _Floats, places: _Places, *, most_price: float) -> "_Frontier":
        """Combine every state with every choice of the next block, as far as the price allows."""
        prices = (self.prices[:, None] + block.prices).ravel()
        fits = np.flatnonzero(prices <= most_price)
        parents, choices = np.divmod(fits, len(places))
        return _Frontier(
            prices=prices[fits],
            errors=self.errors[parents] + block.errors[choices],
            excess=self.excess[parents] + excess[choices],
            chosen=places[choices],
            parents=parents,
            before=self,
        )

    def at(self, rows: npt.NDArray[Any]) -> "_Frontier":
        """Return some of the states."""
        return replace(
            self,
            prices=self.prices[rows],
            errors=self.errors[rows],
            excess=self.excess[rows],
            chosen=self.chosen[rows],
            parents=self.parents[rows],
        )

    def undominated(self) -> "_Frontier":
        """Return the states of which no cheaper one has as little error, from cheap to dear."""
        order = np.lexsort((self.errors, self.prices))
        errors = self.errors[order]
        least = np.minimum.accumulate(np.concatenate([[np.inf], errors[:-1]]))
        return self.at(order[errors < least])

    def path(self, state: int) -> list[int]:
        """Return the choices that led to a state, first block first."""
        places: list[int] = []
        frontier: _Frontier | None = self
        while frontier is not None and frontier.before is not None:
            places.append(int(frontier.chosen[state]))
            state, frontier = int(frontier.parents[state]), frontier.before
        return places[::-1]
