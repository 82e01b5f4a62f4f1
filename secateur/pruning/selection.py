"""One calibration of one model, from which every budget takes what stays."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
import torch
from transformers import PreTrainedConfig, PreTrainedModel

from secateur.budget.allocation import Limits, check_reachable, choose
from secateur.budget.cost import structure_costs
from secateur.budget.error_curves import BlockCurves, Curve, block_curves_of, masks_at
from secateur.budget.knapsack import solve
from secateur.budget.latency_table import LatencyTable
from secateur.budget.prices import Prices, PriceTable
from secateur.budget.scores import Scores, check_finite
from secateur.config.prune import PruneSettings
from secateur.config.run import Precision
from secateur.families import family_of
from secateur.families.structures import Kept, Masks, Widths
from secateur.models.surgery import widths_of
from secateur.pruning.criterion import Survey, Terms
from secateur.pruning.multipliers import apply_multipliers
from secateur.pruning.repair import repair_
from secateur.second_order.blocks import with_own_projections
from secateur.training.batches import Batch, ReadyBatches, Rows, batches_of
from secateur.training.objectives import pad_token_id

COST_LENGTH = 32
"""Tokens per row for which MACs are counted; that of ``cost_of`` and of the published timings."""


@dataclass(frozen=True)
class Dense:
    """What budgets are fractions of.

    Attributes:
        config: of the dense model.
        table: measured prices, for a budget of latency.
    """

    config: PreTrainedConfig
    table: LatencyTable | None = None

    @property
    def widths(self) -> Widths:
        """Widths of the dense model, or of what `secateur prune` was given, which somebody may have pruned before."""
        return family_of(self.config).widths(self.config)


@dataclass(frozen=True)
class Calibration:
    """What a criterion is calibrated with.

    Attributes:
        rows: training rows.
        settings: the ``prune`` section.
        seed: of whatever is drawn.
        precision: arithmetic of the matrix products.
    """

    rows: Rows
    settings: PruneSettings
    seed: int
    precision: Precision

    def batches(self, model: PreTrainedModel) -> Iterator[Batch]:
        """Yield the rows in a fixed order."""
        size = self.settings.recovery.batch_size
        return batches_of(self.rows, batch_size=size, pad_token_id=pad_token_id(model))


class Selector(Protocol):
    """Knows one model; chooses for any budget."""

    def select_(self, model: PreTrainedModel, *, target: float) -> Masks:
        """Choose what stays, and let what stays make up for it; the widths stay until ``cut_``.

        Args:
            model: the calibrated model, or a copy of it; its weights may change.
            target: fraction of dense that may stay, in the unit of the budget.

        Raises:
            BudgetError: the target is out of reach; the model is as it was.
        """
        ...

    def curve(self, model: PreTrainedModel) -> "ErrorCurve":
        """Return what every target costs in quality, as the criterion sees it, and which ones can be reached."""
        ...


@dataclass(frozen=True)
class ErrorCurve:
    """The least error of every target: what a choice would do, without doing it.

    Attributes:
        curves: errors of every block at every width.
        prices: of every block at every width.
        of_dense: price of the dense model.
    """

    curves: BlockCurves
    prices: PriceTable
    of_dense: float

    def error(self, target: float) -> float:
        """Return the error of the best widths within a fraction of the dense price.

        Raises:
            BudgetError: the target is out of reach.
        """
        return self.curves.error(solve(self.curves, self.prices, budget=target * self.of_dense))

    @property
    def smallest(self) -> float:
        """The smallest fraction of dense that leaves a model: where all may go, one of the dearest last units stays."""
        last = [
            (prices[curve.kept[-1]], prices[curve.kept[max(len(curve.kept) - 2, 0)]]) for curve, prices in self._blocks
        ]
        least = self.prices.fixed + sum(price for price, _ in last)
        if not any(curve.kept[-1] for curve, _ in self._blocks):
            least += max(above - price for price, above in last)
        return least / self.of_dense

    @property
    def largest(self) -> float:
        """The fraction of dense at which nothing goes."""
        return (self.prices.fixed + sum(prices[curve.kept[0]] for curve, prices in self._blocks)) / self.of_dense

    @property
    def _blocks(self) -> list[tuple[Curve, tuple[float, ...]]]:
        """Every block, and the price of its widths."""
        heads = [(curve, self.prices.heads) for curve in self.curves.heads]
        return heads + [(curve, self.prices.ffn) for curve in self.curves.ffn]


def calibrate(model: PreTrainedModel, calibration: Calibration, *, dense: Dense, kept: Kept | None) -> Selector:
    """Look at a model once, for as many budgets as there are.

    Args:
        model: left as it is.
        calibration: rows and settings.
        dense: what the budget is a fraction of.
        kept: which units of the dense model this one has, for multipliers that name them; None = all.
    """
    settings, criterion, precision = calibration.settings, calibration.settings.scorer, calibration.precision
    if criterion.curves is not None:
        terms = Terms(
            limits=Limits.of(settings),
            factors=preset_factors(model, settings, kept=kept),
            repair=settings.repair,
            seed=calibration.seed,
            precision=precision,
        )
        found = criterion.curves(model, lambda: calibration.batches(model), terms=terms, settings=settings.own)
        return Surveyed(found=found, settings=settings, dense=dense)
    assert criterion.structures is not None  # the schema refuses a criterion that scores no structures
    scores = criterion.structures(model, calibration.batches(model), precision=precision, settings=settings.own)
    check_finite(scores, criterion=settings.criterion)
    if settings.multipliers:
        scores = apply_multipliers(scores, settings.multipliers, kept=kept)
    return Ranking(scores=scores, calibration=calibration, dense=dense)


def preset_factors(model: PreTrainedModel, settings: PruneSettings, *, kept: Kept | None) -> Scores:
    """Return the preset multiplier of every unit."""
    widths = widths_of(model)
    ones = Scores(heads=tuple(map(torch.ones, widths.heads)), ffn=tuple(map(torch.ones, widths.ffn)))
    return apply_multipliers(ones, settings.multipliers, kept=kept) if settings.multipliers else ones


@final
@dataclass(frozen=True)
class Ranking:
    """Scores of single structures: the least important per price go first."""

    scores: Scores
    calibration: Calibration
    dense: Dense

    def select_(self, model: PreTrainedModel, *, target: float) -> Masks:
        """See ``Selector``."""
        masks, calibration = self._chosen(model, target=target), self.calibration
        if calibration.settings.repair != "none":
            repair_(
                model,
                masks,
                dense=with_own_projections(model),
                batches=lambda: calibration.batches(model),
                mode=calibration.settings.repair,
                seed=calibration.seed,
                precision=calibration.precision,
            )
        return masks

    def curve(self, model: PreTrainedModel) -> ErrorCurve:
        """See ``Selector``; scores are taken as errors that add up."""
        settings = self.calibration.settings
        prices = price_table(model, settings, dense=self.dense)
        curves = block_curves_of(self.scores, Limits.of(settings))
        return ErrorCurve(curves, prices, prices.of_dense(self.dense.widths))

    def _chosen(self, model: PreTrainedModel, *, target: float) -> Masks:
        settings, limits = self.calibration.settings, Limits.of(self.calibration.settings)
        if settings.budget.kind == "latency":
            prices = price_table(model, settings, dense=self.dense)
            check_reachable(
                fraction=target, current=widths_of(model), dense=self.dense.widths, prices=prices, limits=limits
            )
            curves = block_curves_of(self.scores, limits)
            return masks_at(curves, solve(curves, prices, budget=target * prices.of_dense(self.dense.widths)))
        linear = linear_prices(model, settings, dense=self.dense)
        return choose(self.scores, fraction=target, dense=self.dense.widths, prices=linear, limits=limits)


@final
@dataclass(frozen=True)
class Surveyed:
    """Errors of every width of every block, and the weights that make up for it."""

    found: Survey
    settings: PruneSettings
    dense: Dense

    def select_(self, model: PreTrainedModel, *, target: float) -> Masks:
        """See ``Selector``."""
        prices = price_table(model, self.settings, dense=self.dense)
        check_reachable(
            fraction=target,
            current=widths_of(model),
            dense=self.dense.widths,
            prices=prices,
            limits=Limits.of(self.settings),
        )
        return self.found.select_(model, prices=prices, budget=target * prices.of_dense(self.dense.widths))

    def curve(self, model: PreTrainedModel) -> ErrorCurve:
        """See ``Selector``."""
        prices = price_table(model, self.settings, dense=self.dense)
        return ErrorCurve(self.found.curves, prices, prices.of_dense(self.dense.widths))


def linear_prices(model: PreTrainedModel, settings: PruneSettings, *, dense: Dense) -> Prices:
    """Return the price of a head and a neuron of this model, and what the dense model cost."""
    kind = settings.budget.kind
    of_dense = Prices.of(structure_costs(dense.config, length=COST_LENGTH), kind).total(dense.widths)
    return Prices.of(structure_costs(model, length=COST_LENGTH), kind, dense=of_dense)


def price_table(model: PreTrainedModel, settings: PruneSettings, *, dense: Dense) -> PriceTable:
    """Return the price of every width of a block, measured or counted."""
    kind = settings.budget.kind
    if kind == "latency":
        assert dense.table is not None  # whoever asks for a budget of latency brings the table
        return PriceTable.measured(dense.table)
    of_dense = Prices.of(structure_costs(dense.config, length=COST_LENGTH), kind).total(dense.widths)
    costs = structure_costs(model, length=COST_LENGTH)
    return PriceTable.linear(costs, kind, dense=dense.widths, dense_price=of_dense)


def calibration_sample(rows: Rows, *, num_rows: int, seed: int) -> Rows:
    """Draw rows without replacement; all of them when there are fewer, or when they come in batches already."""
    if isinstance(rows, ReadyBatches) or num_rows >= len(rows):
        return rows
    chosen = np.random.default_rng(seed).choice(len(rows), size=num_rows, replace=False)
    return rows.take(np.sort(chosen))
