"""Every block at every width, from one calibration pass."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedModel

from secateur.budget.allocation import Limits
from secateur.budget.error_curves import BlockCurves, Curve
from secateur.budget.scores import Scores
from secateur.config.run import Precision
from secateur.errors import ModelError
from secateur.families.structures import Widths
from secateur.models.surgery import widths_of
from secateur.progress import PATIENCE_S, progress
from secateur.second_order.blocks import Block, blocks_of
from secateur.second_order.calibration import Moments, Weighting, moments
from secateur.second_order.surgeon import damped_, remove_groups, solve_kept
from secateur.training.batches import Batch

_CACHED, _CACHED_BYTES = 256, 640 * 1024**2
"""Solved weights that are kept for further budgets and trials; each is one projection in fp32."""


@dataclass(frozen=True)
class Entry:
    """One block of the database.

    Attributes:
        weight: (E, N) before any removal, bias last, as the model has it; computed with in float64.
        hessian: (N, N) float64, damped.
        curve: order and errors.
    """

    weight: Tensor
    hessian: Tensor
    curve: Curve

    def solved(self, width: int) -> Tensor:
        """Return the best weights with ``width`` units left, (E, N) fp32; columns of what goes are zero."""
        keep = self.curve.mask(width)
        unit_size = (self.weight.shape[1] - 1) // max(len(keep), 1)
        features = torch.cat([keep.repeat_interleave(unit_size), torch.ones(1, dtype=torch.bool)])
        kept = features.nonzero()[:, 0]
        if len(kept) == len(features):
            return self.weight.float()
        solved = torch.zeros(self.weight.shape)
        solved[:, kept] = solve_kept(self.weight.double(), self.hessian, kept).float()
        return solved


@dataclass(frozen=True)
class Database:
    """Every block at every width that may stay.

    Weights are solved for when they are asked for, from the stored moments: that takes milliseconds, and all
    levels of all blocks would take gigabytes.

    Attributes:
        curves: order and error of every block; errors add up over blocks.
        entries: attention of all layers, then FFN of all layers.
    """

    curves: BlockCurves
    entries: tuple[Entry, ...]
    _solved: dict[tuple[int, int], Tensor] = field(default_factory=dict, repr=False)

    def stitch_(self, model: PreTrainedModel, widths: Widths) -> None:
        """Give a model the best weights at these widths, in place.

        The model stays as wide as it was, with zeros for what goes. Every block is written, so any widths may
        follow any others.

        Args:
            model: the model that the database was built from, or a copy of it.
            widths: among those that may stay.
        """
        for place, (block, width) in enumerate(zip(blocks_of(model), (*widths.heads, *widths.ffn), strict=True)):
            if block.num_units > 0:
                block.write_(self._at(place, width))

    def _at(self, place: int, width: int) -> Tensor:
        key = (place, width)
        if key not in self._solved:
            weight = self.entries[place].weight
            room = min(_CACHED, _CACHED_BYTES // (4 * max(weight.numel(), 1)))
            while len(self._solved) >= max(room, 1):
                self._solved.pop(next(iter(self._solved)))
            self._solved[key] = self.entries[place].solved(width)
        return self._solved[key]


def build(
    model: PreTrainedModel,
    batches: Iterable[Batch],
    *,
    seed: int,
    precision: Precision,
    limits: Limits,
    factors: Scores | None = None,
    weighting: Weighting = "fisher",
) -> Database:
    """Calibrate in one pass, then find order and error of every block at every width that may stay.

    Args:
        model: the model before the cut; its weights are not changed.
        batches: calibration rows.
        seed: of the directions that stand for the labels.
        precision: arithmetic of the pass; everything after it is float64.
        limits: what must stay.
        factors: preset multipliers of every unit: 1 changes nothing, infinity keeps the unit; None = all are 1.
        weighting: what errors measure. ``fisher`` measured better on MiniLM-L6 at 0.5 and 0.35 of dense MACs.

    Raises:
        ModelError: weights or activations hold NaN or infinity; names the blocks.
    """
    collected = list(moments(model, batches, seed=seed, precision=precision, weighting=weighting))
    blocks, num_layers = blocks_of(model), widths_of(model).num_layers
    _check_finite(blocks, collected)
    of_units = [torch.ones(block.num_units) for block in blocks]
    if factors is not None:
        of_units = [*factors.heads, *factors.ffn]
    entries = []
    with progress("blocks", total=len(blocks), after_s=PATIENCE_S) as advance:
        for place, (block, factor) in enumerate(zip(blocks, of_units, strict=True)):
            kept_units = limits.kept_heads if place < num_layers else limits.kept_neurons
            kept = kept_units(block.num_units, protected=int(factor.isinf().sum()))
            # What is done with goes: all moments and all that follows from them would be twice the memory.
            entries.append(_entry(block, collected.pop(0), kept=kept, factors=factor))
            advance()
    curves = tuple(entry.curve for entry in entries)
    return Database(curves=BlockCurves(heads=curves[:num_layers], ffn=curves[num_layers:]), entries=tuple(entries))


def _check_finite(blocks: list[Block], collected: list[Moments]) -> None:
    num_layers = len(blocks) // 2
    names = [f"layers.{layer}.{kind}" for kind in ("heads", "ffn") for layer in range(num_layers)]
    broken = [
        name
        for name, block, moment in zip(names, blocks, collected, strict=True)
        if not all(bool(values.isfinite().all()) for values in (block.extended_weight(), moment.inputs, moment.outputs))
    ]
    if broken:
        raise ModelError(
            f"criterion obs: weights or gradients of {', '.join(broken)} hold NaN or infinity; "
            "a checkpoint with finite weights and a finite loss on the calibration rows would work"
        )


def _entry(block: Block, moment: Moments, *, kept: tuple[int, ...], factors: Tensor) -> Entry:
    weight, hessian = block.extended_weight(), damped_(moment.inputs)
    # tr(G dW H dW^T) is the squared error of R W, where R^T R = G.
    removals = remove_groups(_root(moment.outputs) @ weight, hessian, factors=factors)
    errors = tuple(float(removals.errors[block.num_units - count]) for count in kept)
    return Entry(
        weight=weight.to(block.projection.weight.dtype),
        hessian=hessian,
        curve=Curve(order=removals.order, kept=kept, errors=errors),
    )


def _root(metric: Tensor) -> Tensor:
    """Return R with R^T R = metric, without the directions that carry nothing."""
    values, vectors = torch.linalg.eigh(metric)
    used = values > values[-1].clamp_min(0.0) * 1e-12
    root: Tensor = values[used].sqrt()[:, None] * vectors[:, used].T
    return root
