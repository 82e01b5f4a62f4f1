"""Prices of blocks: fitted to measured times, corrected by further ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LinearRegression

from secateur.families.structures import Widths

_Floats = npt.NDArray[np.float64]
_FEWEST = 3
_PLAUSIBLE = (0.5, 2.0)


@dataclass(frozen=True)
class BlockPrices:
    """Milliseconds per block, as ``LatencyTable`` holds them."""

    attention_ms: tuple[float, ...]
    ffn_ms: tuple[float, ...]
    fixed_ms: float


def fit_prices(widths: Sequence[Widths], times_ms: Sequence[float], *, ffn_widths: Sequence[int]) -> BlockPrices:
    """Fit prices to the times of whole models: non-negative least squares of relative errors.

    What is fitted are the steps from one width to the next, and none may be negative, so a wider block is never
    cheaper. The price of a layer whose blocks are both absent (norms, biases) is split between the two.

    Args:
        widths: of every model.
        times_ms: of every model.
        ffn_widths: ascending from 0; no other numbers of neurons occur.
    """
    num_heads = max(max(entry.heads) for entry in widths)
    rows = np.array([_row(entry, num_heads=num_heads, ffn_widths=ffn_widths) for entry in widths])
    times = np.asarray(times_ms, dtype=np.float64)
    solver = LinearRegression(positive=True, fit_intercept=False)
    steps: _Floats = solver.fit(rows / times[:, None], np.ones_like(times)).coef_
    empty = float(steps[1]) / 2
    attention = empty + np.cumsum([0.0, *steps[2 : 2 + num_heads]])
    ffn = empty + np.cumsum([0.0, *steps[2 + num_heads :]])
    return BlockPrices(tuple(attention.tolist()), tuple(ffn.tolist()), fixed_ms=float(steps[0]))


def corrected(prices: BlockPrices, predicted_ms: Sequence[float], measured_ms: Sequence[float]) -> BlockPrices:
    """Bring prices to what was measured on models that the solver chose by them.

    However often prices are fitted, the solver chooses what they make too cheap. A factor for all prices and a shift
    of the fixed one take out the mean of that error; neither changes what is chosen for a size, so it stays out.
    Times that only an implausible factor would explain are noise; the median of their ratios is taken instead.

    Args:
        prices: what the solver believes.
        predicted_ms: by these prices; fewer than three models change nothing.
        measured_ms: of the same models; relative errors count.
    """
    if len(measured_ms) < _FEWEST:
        return prices
    measured, predicted = (np.asarray(times, dtype=np.float64) for times in (measured_ms, predicted_ms))
    rows = np.stack([np.ones_like(measured), predicted], axis=1) / measured[:, None]
    (shift, factor), *_ = np.linalg.lstsq(rows, np.ones_like(measured))
    least, most = _PLAUSIBLE
    if not least <= factor <= most:
        priced = predicted > 0
        ratio = float(np.median(measured[priced] / predicted[priced])) if bool(priced.any()) else 1.0
        shift, factor = 0.0, min(max(ratio, least), most)
    return BlockPrices(
        tuple(float(factor * price) for price in prices.attention_ms),
        tuple(float(factor * price) for price in prices.ffn_ms),
        fixed_ms=max(float(factor * prices.fixed_ms + shift), 0.0),
    )


def _row(widths: Widths, *, num_heads: int, ffn_widths: Sequence[int]) -> list[float]:
    """Count how often a model pays every step: 1, layers, heads above 0, 1, ..., neurons above each width."""
    heads = [float(sum(count > step for count in widths.heads)) for step in range(num_heads)]
    neurons = [float(sum(count >= step for count in widths.ffn)) for step in ffn_widths[1:]]
    return [1.0, float(widths.num_layers), *heads, *neurons]
