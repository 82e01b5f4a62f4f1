"""Widths by the Fisher information of masks, and masks tuned by least squares: what criterion ``fisher`` does."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import final

from transformers import PreTrainedModel

from secateur.budget.error_curves import BlockCurves, Curve, masks_at
from secateur.budget.knapsack import solve
from secateur.budget.prices import PriceTable
from secateur.errors import ModelError
from secateur.families.structures import Masks
from secateur.models.surgery import widths_of
from secateur.pruning.criterion import Terms
from secateur.pruning.repair import repair_
from secateur.second_order.blocks import blocks_of, with_own_projections
from secateur.second_order.mask_fisher import mask_fisher_in_turn, rearrange
from secateur.training.batches import Batch


def mask_search(model: PreTrainedModel, batches: Callable[[], Iterable[Batch]], *, terms: Terms) -> "MaskSearch":
    """Calibrate once; arguments as of ``SurveyCurves``."""
    return MaskSearch(curves=fisher_curves(model, batches(), terms=terms), batches=batches, terms=terms)


@final
@dataclass(frozen=True)
class MaskSearch:
    """Widths by DP on the Fisher information of masks, order rearranged, masks tuned by least squares."""

    curves: BlockCurves
    batches: Callable[[], Iterable[Batch]]
    terms: Terms

    def select_(self, model: PreTrainedModel, *, prices: PriceTable, budget: float) -> Masks:
        """See ``Survey``. ``repair: none`` tunes one factor per unit, as in the paper."""
        masks = masks_at(self.curves, solve(self.curves, prices, budget=budget))
        mode = "scales" if self.terms.repair == "none" else self.terms.repair
        repair_(
            model,
            masks,
            dense=with_own_projections(model),
            batches=self.batches,
            mode=mode,
            seed=self.terms.seed,
            precision=self.terms.precision,
        )
        return masks


def fisher_curves(model: PreTrainedModel, batches: Iterable[Batch], *, terms: Terms) -> BlockCurves:
    """Return orders and errors by the full Fisher block of every layer.

    Raises:
        ModelError: weights or gradients are not finite; the block is named.
    """
    num_layers = widths_of(model).num_layers
    blocks, factors = blocks_of(model), (*terms.factors.heads, *terms.factors.ffn)
    curves: dict[int, Curve] = {}
    for place, fisher in mask_fisher_in_turn(model, batches, precision=terms.precision):
        block, factor = blocks[place], factors[place]
        if not bool(fisher.isfinite().all()):
            name = f"layers.{place % num_layers}.{'heads' if place < num_layers else 'ffn'}"
            raise ModelError(
                f"criterion fisher: weights or gradients of {name} hold NaN or infinity; "
                "a checkpoint with finite weights and a finite loss on the calibration rows would work"
            )
        removals = rearrange(fisher, factors=factor)
        kept_units = terms.limits.kept_heads if place < num_layers else terms.limits.kept_neurons
        kept = kept_units(block.num_units, protected=int(factor.isinf().sum()))
        errors = tuple(float(removals.errors[block.num_units - count]) for count in kept)
        curves[place] = Curve(order=removals.order, kept=kept, errors=errors)
    of_all = tuple(curves[place] for place in range(len(blocks)))
    return BlockCurves(heads=of_all[:num_layers], ffn=of_all[num_layers:])
