"""Choosing widths by what the stitched model really does: errors of single blocks do not add up exactly."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from secateur.budget.error_curves import BlockCurves, Curve
from secateur.budget.knapsack import solve
from secateur.budget.prices import PriceTable
from secateur.config.run import Precision
from secateur.families.structures import Widths
from secateur.kinds.registry import kind_named
from secateur.progress import progress
from secateur.second_order.blocks import with_own_projections
from secateur.second_order.database import Database
from secateur.training.batches import Batch
from secateur.training.objectives import forward, in_reach

_RANDOM_SHARE = 0.4
"""Trials that look anywhere; the others change what is best so far."""

_MOST_LOGITS = 50_000_000
"""Of a generator, for the whole search: 200 MB."""
_SPREAD = math.log(4.0)
"""Coefficients of a random trial lie between 1/4 and 4."""


def search(
    database: Database,
    model: PreTrainedModel,
    batches: Iterable[Batch],
    *,
    prices: PriceTable,
    budget: float,
    trials: int,
    seed: int,
    precision: Precision,
) -> Widths:
    """Return the widths whose stitched model is closest to the model itself, among those that were tried.

    Every trial multiplies the errors of each block by a coefficient, solves for the widths exactly, and measures
    the divergence of the stitched model's logits on the given rows (Frantar and Alistarh 2022, SPDY, section 3.3).
    The first trial has coefficients of 1, so the result is never worse there than without a search.

    Differs from the paper in: coefficients from 1/4 to 4 around errors that are in nats already, instead of 0 to 1;
    a mutation redraws about a fifth of the coefficients; widths that were tried before are not evaluated again.

    Args:
        database: of the model.
        model: left as it is.
        batches: rows to compare on; they are held, so let them be a few hundred.
        prices: in the unit of the budget.
        budget: absolute.
        trials: models to try; 0 returns the first without looking at it.
        seed: of the coefficients.
        precision: arithmetic of the passes.

    Raises:
        BudgetError: the budget is out of reach.
    """
    best = solve(database.curves, prices, budget=budget)
    if trials == 0:
        return best
    held = [part for batch in batches for part in in_reach(model, batch.to(model.device))]
    model.eval()
    wanted = _log_probabilities(model, held, precision)
    stitched = with_own_projections(model)
    generator = torch.Generator().manual_seed(seed)
    num_blocks = len(database.entries)
    coefficients = torch.ones(num_blocks, dtype=torch.float64)
    losses: dict[Widths, float] = {}
    with progress("search", total=trials) as advance:
        for trial in range(trials):
            tried = _next_coefficients(coefficients, trial=trial, trials=trials, generator=generator)
            widths = solve(_scaled(database.curves, tried.tolist()), prices, budget=budget)
            if widths not in losses:
                database.stitch_(stitched, widths)
                losses[widths] = _divergence(stitched, held, wanted, precision)
            if losses[widths] < losses.get(best, math.inf):
                best, coefficients = widths, tried
            advance(f"divergence {losses.get(best, math.inf):.4f}")
    return best


def _next_coefficients(best: Tensor, *, trial: int, trials: int, generator: torch.Generator) -> Tensor:
    drawn = torch.empty_like(best).uniform_(-_SPREAD, _SPREAD, generator=generator).exp()
    if trial == 0:
        return best
    if trial <= trials * _RANDOM_SHARE:
        return drawn
    changed = torch.rand(best.shape, generator=generator) < 0.2
    return torch.where(changed, drawn, best)


def _scaled(curves: BlockCurves, coefficients: list[float]) -> BlockCurves:
    def scaled(curve: Curve, factor: float) -> Curve:
        return Curve(order=curve.order, kept=curve.kept, errors=tuple(error * factor for error in curve.errors))

    num_layers = len(curves.heads)
    return BlockCurves(
        heads=tuple(map(scaled, curves.heads, coefficients[:num_layers])),
        ffn=tuple(map(scaled, curves.ffn, coefficients[num_layers:])),
    )


@torch.no_grad()
def _log_probabilities(model: PreTrainedModel, batches: list[Batch], precision: Precision) -> list[Tensor]:
    """Return those of every row, (B, K) per batch; of a generator those of some of its tokens, (tokens, V)."""
    num_tokens = sum(int(batch.attention_mask.sum()) for batch in batches)
    found = []
    for batch in batches:
        logits = forward(model, batch, precision=precision)
        if logits.dim() > 2:
            stride = -(-num_tokens * logits.shape[-1] // _MOST_LOGITS)
            logits = logits[batch.attention_mask.bool()][::stride]
        found.append(kind_named(batch.kind).log_probabilities(logits))
    return found


def _divergence(model: PreTrainedModel, batches: list[Batch], wanted: list[Tensor], precision: Precision) -> float:
    """Return the divergence of the stitched model from the model itself, per row (of a generator: per token)."""
    found = _log_probabilities(model, batches, precision)
    pairs = zip(batches, found, wanted, strict=True)
    total = sum(float(kind_named(batch.kind).divergence(own, other)) for batch, own, other in pairs)
    return total / sum(map(len, wanted))
