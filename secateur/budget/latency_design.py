"""Which models a latency table is measured on, and how their times become prices of blocks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from secateur.budget.block_prices import BlockPrices
from secateur.budget.error_curves import BlockCurves, Curve
from secateur.budget.knapsack import solve
from secateur.budget.latency_table import Shape
from secateur.budget.prices import PriceTable
from secateur.families.structures import Widths

FFN_STEP = 64
"""Neurons between two timed widths; wider blocks than ``_MAX_WIDTHS`` such steps take a multiple of it."""

_MAX_WIDTHS = 24
_NUM_MIXED = 12
_FRACTIONS = (0.08, 0.7)
"""What a correction may multiply prices by: more is noise, and a negative one would make wide blocks cheap."""


@dataclass(frozen=True)
class Design:
    """The models to time.

    Attributes:
        ffn_widths: neurons with a price of their own, ascending from 0.
        models: the dense model first, then models with one width in all layers, models of few layers, and
            models of random widths.
    """

    ffn_widths: tuple[int, ...]
    models: tuple[Widths, ...]


def design_for(shape: Shape) -> Design:
    """Choose the models: every width once in all layers while the other kind stays at half, and random mixtures.

    The mixtures make the prices hold for the models that a solver chooses, whose layers differ. Their widths
    are drawn around a level of their own, so that small and large models occur alike. The draw is fixed.
    """
    step = FFN_STEP * -(-shape.ffn // (FFN_STEP * _MAX_WIDTHS))
    # Narrow blocks are timed more finely: what a call costs, however little it computes, shows there.
    narrow = {width for width in (step // 4, step // 2) if width < shape.ffn}
    ffn_widths = tuple(sorted({*range(0, shape.ffn, step), *narrow, shape.ffn}))
    heads, ffn = (shape.num_heads + 1) // 2, ffn_widths[len(ffn_widths) // 2]
    uniform = [_uniform(shape, heads=count, ffn=ffn) for count in range(shape.num_heads + 1)]
    uniform += [_uniform(shape, heads=heads, ffn=count) for count in ffn_widths]
    # Without a model of fewer layers, what is paid per layer could not be told from what is paid once.
    shallow = [_uniform(shape, heads=heads, ffn=ffn, num_layers=count) for count in (1, (shape.num_layers + 1) // 2)]
    draw = np.random.default_rng(0)
    mixed = [_mixed(shape, ffn_widths, draw) for _ in range(_NUM_MIXED)]
    return Design(ffn_widths=ffn_widths, models=tuple(dict.fromkeys((shape.dense, *uniform, *shallow, *mixed))))


def solutions(prices: BlockPrices, shape: Shape, *, ffn_widths: Sequence[int], count: int, seed: int) -> list[Widths]:
    """Return models that the solver chooses under these prices, for errors and budgets that are drawn.

    A solver finds the widths whose price is too low, and a model that it chooses is slower than predicted. So
    prices are fitted again with such models, and judged by others.

    Args:
        prices: what the solver believes.
        shape: of the dense model.
        ffn_widths: neurons that may be chosen, ascending from 0.
        count: how many models, from small to large.
        seed: of the errors.
    """
    draw = np.random.default_rng(seed)
    table = PriceTable(
        heads=prices.attention_ms,
        ffn=tuple(np.interp(np.arange(shape.ffn + 1), ffn_widths, prices.ffn_ms).tolist()),
        fixed=prices.fixed_ms,
        head_dim=shape.head_dim,
    )
    dense = table.total(shape.dense)
    found = []
    for fraction in np.geomspace(*_FRACTIONS, num=count).tolist():
        curves = BlockCurves(
            heads=tuple(_curve(range(shape.num_heads + 1), draw) for _ in range(shape.num_layers)),
            ffn=tuple(_curve(ffn_widths, draw) for _ in range(shape.num_layers)),
        )
        empty = shape.num_layers * (table.heads[0] + table.ffn[0])
        smallest = table.fixed + empty + (table.heads[1] - table.heads[0])
        widths = solve(curves, table, budget=max(fraction * dense, smallest))
        if any((*widths.heads, *widths.ffn)):
            found.append(widths)
    return list(dict.fromkeys(found))


def _curve(kept: Sequence[int], draw: np.random.Generator) -> Curve:
    """Draw how the error of a block grows as it narrows: slowly first, fast where little is left, in no two alike."""
    widths = sorted(kept, reverse=True)
    errors = -np.exp(draw.normal(scale=0.7)) * np.log((np.array(widths) / widths[0] + 0.02) / 1.02)
    return Curve(order=torch.arange(widths[0]), kept=tuple(widths), errors=(0.0, *errors[1:].tolist()))


def _uniform(shape: Shape, *, heads: int, ffn: int, num_layers: int | None = None) -> Widths:
    count = shape.num_layers if num_layers is None else num_layers
    return Widths(heads=(heads,) * count, ffn=(ffn,) * count, head_dim=shape.head_dim)


def _mixed(shape: Shape, ffn_widths: Sequence[int], draw: np.random.Generator) -> Widths:
    level = draw.uniform(0.1, 0.8)
    parts = np.clip(draw.normal(level, 0.2, size=(2, shape.num_layers)), 0.0, 1.0)
    heads = tuple(round(part * shape.num_heads) for part in parts[0].tolist())
    ffn = tuple(ffn_widths[round(part * (len(ffn_widths) - 1))] for part in parts[1].tolist())
    # A model of which nothing is left is none.
    return Widths(heads, ffn, shape.head_dim) if any((*heads, *ffn)) else _mixed(shape, ffn_widths, draw)
