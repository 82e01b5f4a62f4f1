"""The widths with the least total error within a budget: a multiple-choice knapsack."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secateur.budget.branch_and_bound import Choices, improved
from secateur.budget.error_curves import BlockCurves, Curve
from secateur.budget.prices import PriceTable
from secateur.errors import BudgetError
from secateur.families.structures import Widths

_Floats = npt.NDArray[np.float64]

_RELATIVE_SLACK = 1e-9
"""Rounding of a sum of prices, as a share of the budget."""


@dataclass(frozen=True)
class _Block:
    """The choices of one block.

    Attributes:
        kept: widths, descending.
        cheapest: the lowest price.
        prices: above the lowest one.
        errors: at each width.
    """

    kept: tuple[int, ...]
    cheapest: float
    prices: _Floats
    errors: _Floats


def solve(curves: BlockCurves, prices: PriceTable, *, budget: float, buckets: int = 10_000) -> Widths:
    """Minimise the sum of errors over one width per block, with a total price of at most ``budget``.

    Frantar and Alistarh 2022 (SPDY, section 3.2): ``D[b][t] = min_c D[b-1][t - price(b, c)] + error(b, c)`` over
    ``buckets`` equal parts of what the budget leaves above the cheapest choices. Prices that are whole multiples of
    such a part, which integer prices with few enough common units are, make that exact; else every price is rounded
    up, so that the budget is never exceeded, what rounding left over is spent on the upgrades that still fit, and
    ``improved`` finds what is better still, if anything is. So the result is exact with any prices.

    Args:
        curves: errors of every block at every width that may stay.
        prices: of every block at every width.
        budget: in the unit of the prices, ``prices.fixed`` included.
        buckets: resolution of what the exact search begins with.

    Raises:
        BudgetError: even the cheapest widths cost more; the message names their price.
    """
    blocks = [_block(curve, prices.heads) for curve in curves.heads]
    blocks += [_block(curve, prices.ffn) for curve in curves.ffn]
    cheapest = prices.fixed + sum(block.cheapest for block in blocks)
    slack = _RELATIVE_SLACK * abs(budget)
    free = budget - cheapest + slack
    if free < 0:
        raise BudgetError(
            f"a budget of {budget:.6g}{_unit(prices)} is not reachable: the smallest structures that may be left "
            f"take {cheapest:.6g}; ask for {cheapest:.6g} or more"
        )
    free = min(free, sum(float(block.prices.max()) for block in blocks) + slack)
    places = _search(blocks, free=free, buckets=buckets)
    _spend_(places, blocks, free=free)
    places = improved(places, [Choices(block.prices, block.errors) for block in blocks], budget=free)
    return _widths(places, blocks, head_dim=prices.head_dim)


def _block(curve: Curve, prices: tuple[float, ...]) -> _Block:
    own = np.array([prices[count] for count in curve.kept], dtype=np.float64)
    cheapest = float(own.min())
    errors = np.array(curve.errors, dtype=np.float64)
    return _Block(kept=curve.kept, cheapest=cheapest, prices=own - cheapest, errors=errors)


def _search(blocks: list[_Block], *, free: float, buckets: int) -> list[int]:
    """Return the place of the chosen width in every block."""
    unit, size = _grid(blocks, free=free, buckets=buckets)
    best: _Floats = np.zeros(size + 1)
    chosen: list[npt.NDArray[np.int32]] = []
    costs: list[npt.NDArray[np.int64]] = []
    for block in blocks:
        # A price that is a whole number of parts but for its last bits must not be rounded to the next one.
        whole = np.minimum(np.ceil(block.prices / unit - 1e-6), size + 1) if unit > 0 else (block.prices > 0) * 1.0
        cost = whole.astype(np.int64)
        total = np.full(size + 1, np.inf)
        choice = np.zeros(size + 1, dtype=np.int32)
        for place in np.lexsort((cost, block.errors)):
            if (start := int(cost[place])) > size:
                continue
            candidate = best[: size + 1 - start] + block.errors[place]
            better = candidate < total[start:]
            total[start:][better] = candidate[better]
            choice[start:][better] = place
        best = total
        chosen.append(choice)
        costs.append(cost)
    return _trace_back(chosen, costs, size=size)


def _grid(blocks: list[_Block], *, free: float, buckets: int) -> tuple[float, int]:
    """Return the price of a part and the number of parts: exact where integer prices allow it."""
    values = np.concatenate([block.prices for block in blocks])
    if bool(np.all(values == np.round(values))) and float(values.max(initial=0.0)) < 2**53:
        common = math.gcd(*(int(value) for value in values))
        if common == 0:
            return 0.0, 0
        if int(free // common) <= buckets:
            return float(common), int(free // common)
    return free / buckets, buckets


def _trace_back(chosen: list[npt.NDArray[np.int32]], costs: list[npt.NDArray[np.int64]], *, size: int) -> list[int]:
    places: list[int] = []
    left = size
    for choice, cost in zip(reversed(chosen), reversed(costs), strict=True):
        place = int(choice[left])
        places.append(place)
        left -= int(cost[place])
    return places[::-1]


def _spend_(places: list[int], blocks: list[_Block], *, free: float) -> None:
    """Spend what rounding left over, in place: the upgrade with the largest gain that fits, until none does."""
    left = free - sum(float(block.prices[place]) for block, place in zip(blocks, places, strict=True))
    while True:
        gains: list[tuple[float, tuple[int, int]]] = []
        for number, (block, place) in enumerate(zip(blocks, places, strict=True)):
            fits = block.prices - block.prices[place] <= left
            gain = np.where(fits, block.errors[place] - block.errors, 0.0)
            gains.append((float(gain.max()), (number, int(gain.argmax()))))
        largest, (number, place) = max(gains, key=lambda entry: entry[0])
        if largest <= 0.0:
            return
        left -= float(blocks[number].prices[place] - blocks[number].prices[places[number]])
        places[number] = place


def _widths(places: list[int], blocks: list[_Block], *, head_dim: int) -> Widths:
    kept = [block.kept[place] for block, place in zip(blocks, places, strict=True)]
    num_layers = len(blocks) // 2
    return Widths(heads=tuple(kept[:num_layers]), ffn=tuple(kept[num_layers:]), head_dim=head_dim)


def _unit(prices: PriceTable) -> str:
    return {"latency": " ms", "macs": " MACs", "params": " parameters", "sparsity": " weights"}[prices.kind]
