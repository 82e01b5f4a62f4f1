"""From a database to widths, and to weights that make up for the rest: what criterion ``obs`` does."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import final

from transformers import PreTrainedModel

from secateur.budget.error_curves import BlockCurves, masks_at
from secateur.budget.prices import PriceTable
from secateur.families.structures import Masks
from secateur.pruning.criterion import Terms
from secateur.pruning.repair import repair_
from secateur.second_order.blocks import with_own_projections
from secateur.second_order.database import Database, build
from secateur.second_order.search import search
from secateur.training.batches import Batch

_SEARCH_ROWS = 256
"""Rows that a trial of the search is compared on."""


def stitching(
    model: PreTrainedModel, batches: Callable[[], Iterable[Batch]], *, terms: Terms, trials: int
) -> "Stitching":
    """Calibrate once; arguments as of ``SurveyCurves``, ``trials`` as of ``search``."""
    database = build(
        model, batches(), seed=terms.seed, precision=terms.precision, limits=terms.limits, factors=terms.factors
    )
    return Stitching(database=database, batches=batches, terms=terms, trials=trials)


@final
@dataclass(frozen=True)
class Stitching:
    """Exact errors and weights of every width from a database; widths by DP, or by a search around it."""

    database: Database
    batches: Callable[[], Iterable[Batch]]
    terms: Terms
    trials: int

    @property
    def curves(self) -> BlockCurves:
        """See ``Survey``."""
        return self.database.curves

    def select_(self, model: PreTrainedModel, *, prices: PriceTable, budget: float) -> Masks:
        """See ``Survey``."""
        widths = search(
            self.database,
            model,
            _spread(self.batches(), num_rows=_SEARCH_ROWS),
            prices=prices,
            budget=budget,
            trials=self.trials,
            seed=self.terms.seed,
            precision=self.terms.precision,
        )
        masks = masks_at(self.database.curves, widths)
        before = with_own_projections(model) if self.terms.repair != "none" else model
        self.database.stitch_(model, widths, again=self.trials > 0 or not self.database.is_large)
        if self.terms.repair != "none":
            repair_(
                model,
                masks,
                dense=before,
                batches=self.batches,
                mode=self.terms.repair,
                seed=self.terms.seed,
                precision=self.terms.precision,
                weights=self.database.token_weights,
            )
        return masks


def _spread(batches: Iterable[Batch], *, num_rows: int) -> list[Batch]:
    """Return batches from short to long rows, about ``num_rows`` in all."""
    held = list(batches)
    step = max(sum(len(batch.labels) for batch in held) // num_rows, 1)
    return held[step // 2 :: step]
