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
from secateur.second_order.calibration import Moments, Weighting, moments_in_turn, weights_of_batches
from secateur.second_order.layerwise import is_large
from secateur.second_order.shelf import Shelf
from secateur.second_order.surgeon import damped_, remove_groups, solve_kept
from secateur.training.batches import Batch

_CACHED, _CACHED_BYTES = 256, 640 * 1024**2
"""Solved weights that are kept for further budgets and trials; each is one projection in fp32."""


@dataclass(frozen=True)
class Entry:
    """One block of the database.

    Attributes:
        weight: (E, N) before any removal, bias last, as the model has it; computed with in float64.
        curve: order and errors.
        shelf: where its hessian waits.
        place: of that on the shelf.
    """

    weight: Tensor
    curve: Curve
    shelf: Shelf
    place: int

    @property
    def hessian(self) -> Tensor:
        """(N, N) float64, damped."""
        return self.shelf.take(self.place)

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
        token_weights: how much each token of a batch counts in every block, (blocks, tokens), batch by batch; none
            where all count the same.
        is_large: what can be read or solved again is not kept in memory.
    """

    curves: BlockCurves
    entries: tuple[Entry, ...]
    token_weights: tuple[Tensor, ...] = ()
    is_large: bool = False
    _solved: dict[tuple[int, int], Tensor] = field(default_factory=dict, repr=False)

    def stitch_(self, model: PreTrainedModel, widths: Widths, *, again: bool = True) -> None:
        """Give a model the best weights at these widths, in place.

        The model stays as wide as it was, with zeros for what goes. Every block is written, so any widths may
        follow any others.

        Args:
            model: the model that the database was built from, or a copy of it.
            widths: among those that may stay.
            again: other widths are likely to follow, so what was solved is kept.
        """
        for place, (block, width) in enumerate(zip(blocks_of(model), (*widths.heads, *widths.ffn), strict=True)):
            if block.num_units > 0:
                block.write_(self._at(place, width) if again else self.entries[place].solved(width))

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
    blocks, num_layers, large = blocks_of(model), widths_of(model).num_layers, is_large(model)
    of_units = [torch.ones(block.num_units) for block in blocks]
    if factors is not None:
        of_units = [*factors.heads, *factors.ffn]
    kept_units = [limits.kept_heads] * num_layers + [limits.kept_neurons] * num_layers
    kept = [
        of(block.num_units, protected=int(factor.isinf().sum()))
        for block, factor, of in zip(blocks, of_units, kept_units, strict=True)
    ]
    shelf, found, weights, broken = Shelf(on_disk=large), {}, {}, []
    in_turn = moments_in_turn(model, batches, seed=seed, precision=precision, weighting=weighting)
    with progress("blocks", total=len(blocks), after_s=PATIENCE_S) as advance:
        for place, moment in in_turn:
            weights[place] = moment.weights
            if not _is_finite(blocks[place], moment):
                broken.append(place)
            elif not broken:
                found[place] = _entry(blocks[place], moment, kept=kept[place], factors=of_units[place], shelf=shelf)
            # What is done with goes: all moments and all that follows from them would be twice the memory.
            del moment
            advance()
    _check_finite(broken, num_layers)
    entries = tuple(found[place] for place in range(len(blocks)))
    curves = tuple(entry.curve for entry in entries)
    return Database(
        curves=BlockCurves(heads=curves[:num_layers], ffn=curves[num_layers:]),
        entries=entries,
        token_weights=weights_of_batches([weights[place] for place in range(len(blocks))]),
        is_large=large,
    )


def _is_finite(block: Block, moment: Moments) -> bool:
    return all(bool(one.isfinite().all()) for one in (block.extended_weight(), moment.inputs, moment.outputs))


def _check_finite(broken: list[int], num_layers: int) -> None:
    if broken:
        names = (f"layers.{place % num_layers}.{'ffn' if place >= num_layers else 'heads'}" for place in sorted(broken))
        raise ModelError(
            f"criterion obs: weights or gradients of {', '.join(names)} hold NaN or infinity; "
            "a checkpoint with finite weights and a finite loss on the calibration rows would work"
        )


def _entry(block: Block, moment: Moments, *, kept: tuple[int, ...], factors: Tensor, shelf: Shelf) -> Entry:
    weight, hessian = block.extended_weight(), damped_(moment.inputs)
    # tr(G dW H dW^T) is the squared error of R W, where R^T R = G.
    removals = remove_groups(_root(moment.outputs) @ weight, hessian, factors=factors)
    errors = tuple(float(removals.errors[block.num_units - count]) for count in kept)
    return Entry(
        weight=weight.to(block.projection.weight.dtype),
        curve=Curve(order=removals.order, kept=kept, errors=errors),
        shelf=shelf,
        place=shelf.put(hessian),
    )


def _root(metric: Tensor) -> Tensor:
    """Return R with R^T R = metric, without the directions that carry nothing."""
    values, vectors = torch.linalg.eigh(metric)
    used = values > values[-1].clamp_min(0.0) * 1e-12
    root: Tensor = values[used].sqrt()[:, None] * vectors[:, used].T
    return root
