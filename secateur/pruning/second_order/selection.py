"""From one calibration to what stays, and to weights that make up for the rest: the methods ``obs`` and ``fisher``."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, final

import torch
from transformers import PreTrainedModel

from secateur.config.prune import PruneSettings
from secateur.config.run import Precision
from secateur.models.structures import Kept, Masks
from secateur.models.surgery import widths_of
from secateur.pruning.allocation import Limits
from secateur.pruning.dynamic_programming import solve
from secateur.pruning.levels import Curve, Levels, masks_at
from secateur.pruning.multipliers import apply_multipliers
from secateur.pruning.prices import PriceTable
from secateur.pruning.repair import Batches, repair_
from secateur.pruning.scores import Scores
from secateur.pruning.second_order.blocks import blocks_of
from secateur.pruning.second_order.database import Database, build
from secateur.pruning.second_order.mask_fisher import mask_fisher, rearrange
from secateur.pruning.second_order.search import search
from secateur.training.batches import Batch

_SEARCH_ROWS = 256
"""Rows that a trial of the search is compared on."""


class SecondOrder(Protocol):
    """Knows one model; takes what stays for any budget from what it knows."""

    def select_(self, model: PreTrainedModel, *, prices: PriceTable, budget: float) -> Masks:
        """Choose what stays and change the weights of what stays; the model stays full-width, ready for ``cut_``.

        Args:
            model: the calibrated model or a copy of it, changed in place.
            prices: in the unit of the budget.
            budget: absolute.

        Raises:
            BudgetError: the budget is out of reach; the model is as it was.
        """
        ...

    @property
    def levels(self) -> Levels:
        """Orders and errors of every block."""
        ...


def calibrate_second_order(
    model: PreTrainedModel,
    batches: Batches,
    *,
    settings: PruneSettings,
    seed: int,
    precision: Precision,
    kept: Kept | None,
) -> SecondOrder:
    """Calibrate once, for as many budgets as there are.

    Args:
        model: its weights are left as they are.
        batches: calibration rows with labels, the same at every call.
        settings: ``criterion`` is obs or fisher; also limits, multipliers, search_trials and repair.
        seed: of the search.
        precision: arithmetic of all passes.
        kept: which dense units the model has, for the names of multipliers; None = all.
    """
    limits, factors = Limits.of(settings), preset_factors(model, settings, kept=kept)
    if settings.criterion == "obs":
        database = build(model, batches(), precision=precision, limits=limits, factors=factors)
        return Surgeon(database=database, batches=batches, settings=settings, seed=seed, precision=precision)
    levels = fisher_levels(model, batches, precision=precision, limits=limits, factors=factors)
    return MaskSearch(levels=levels, batches=batches, settings=settings, precision=precision)


def preset_factors(model: PreTrainedModel, settings: PruneSettings, *, kept: Kept | None) -> Scores:
    """Return the preset multiplier of every unit."""
    widths = widths_of(model)
    ones = Scores(heads=tuple(map(torch.ones, widths.heads)), ffn=tuple(map(torch.ones, widths.ffn)))
    return apply_multipliers(ones, settings.multipliers, kept=kept) if settings.multipliers else ones


@final
@dataclass(frozen=True)
class Surgeon:
    """``obs``: exact errors and weights of every width from a database; widths by DP, or by a search around it."""

    database: Database
    batches: Batches
    settings: PruneSettings
    seed: int
    precision: Precision

    @property
    def levels(self) -> Levels:
        """See ``SecondOrder``."""
        return self.database.levels

    def select_(self, model: PreTrainedModel, *, prices: PriceTable, budget: float) -> Masks:
        """See ``SecondOrder``."""
        widths = search(
            self.database,
            model,
            _spread(self.batches(), num_rows=_SEARCH_ROWS),
            prices=prices,
            budget=budget,
            trials=self.settings.search_trials,
            seed=self.seed,
            precision=self.precision,
        )
        masks = masks_at(self.database.levels, widths)
        before = copy.deepcopy(model) if self.settings.repair != "none" else model
        self.database.stitch_(model, widths)
        if self.settings.repair != "none":
            repair_(
                model,
                masks,
                dense=before,
                batches=self.batches,
                mode=self.settings.repair,
                precision=self.precision,
            )
        return masks


@final
@dataclass(frozen=True)
class MaskSearch:
    """``fisher``: widths by DP on the Fisher information of masks, order rearranged, masks tuned by least squares."""

    levels: Levels
    batches: Batches
    settings: PruneSettings
    precision: Precision

    def select_(self, model: PreTrainedModel, *, prices: PriceTable, budget: float) -> Masks:
        """See ``SecondOrder``. ``repair: none`` tunes one factor per unit, as in the paper."""
        masks = masks_at(self.levels, solve(self.levels, prices, budget=budget))
        mode = "scales" if self.settings.repair == "none" else self.settings.repair
        repair_(model, masks, dense=copy.deepcopy(model), batches=self.batches, mode=mode, precision=self.precision)
        return masks


def fisher_levels(
    model: PreTrainedModel, batches: Batches, *, precision: Precision, limits: Limits, factors: Scores
) -> Levels:
    """Return orders and errors by the full Fisher block of every layer."""
    num_layers = widths_of(model).num_layers
    fishers = mask_fisher(model, batches(), precision=precision)
    curves = []
    for place, (block, fisher, factor) in enumerate(
        zip(blocks_of(model), fishers, (*factors.heads, *factors.ffn), strict=True)
    ):
        removals = rearrange(fisher, factors=factor)
        kept_units = limits.kept_heads if place < num_layers else limits.kept_neurons
        kept = kept_units(block.num_units, protected=int(factor.isinf().sum()))
        errors = tuple(float(removals.errors[block.num_units - count]) for count in kept)
        curves.append(Curve(order=removals.order, kept=kept, errors=errors))
    return Levels(heads=tuple(curves[:num_layers]), ffn=tuple(curves[num_layers:]))


def _spread(batches: Iterable[Batch], *, num_rows: int) -> list[Batch]:
    """Return batches from short to long rows, about ``num_rows`` in all."""
    held = list(batches)
    step = max(sum(len(batch.labels) for batch in held) // num_rows, 1)
    return held[step // 2 :: step]
