"""What it costs in quality to narrow every block to every width that may stay."""

import bisect
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.budget.allocation import Limits, num_protected, order_of_removal
from secateur.budget.scores import Scores
from secateur.families.structures import Masks, Widths


@dataclass(frozen=True)
class Curve:
    """One block: the order in which its units go, and the error at every width that may stay.

    Attributes:
        order: (U,) int64, first to go first.
        kept: numbers of units that may stay, descending from U.
        errors: calibration error at each of them; the first is 0.
    """

    order: Tensor
    kept: tuple[int, ...]
    errors: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.kept) != len(self.errors) or not self.kept or self.kept[0] != len(self.order):
            raise ValueError(
                f"a curve over {len(self.order)} units starts at that width and has one error per width, "
                f"found widths {list(self.kept)} and {len(self.errors)} errors"
            )

    def mask(self, width: int) -> Tensor:
        """Return (U,) booleans, True = keep, with ``width`` units left.

        Raises:
            ValueError: the width is none of those that may stay.
        """
        if width not in self.kept:
            raise ValueError(f"{width} units cannot stay; the widths are {list(self.kept)}")
        keep = torch.ones(len(self.order), dtype=torch.bool)
        keep[self.order[: len(self.order) - width]] = False
        return keep

    def error(self, width: int) -> float:
        """Return the error at one of the widths that may stay."""
        place = bisect.bisect_left(self.kept, -width, key=lambda kept: -kept)
        if place == len(self.kept) or self.kept[place] != width:
            raise ValueError(f"{width} units cannot stay; the widths are {list(self.kept)}")
        return self.errors[place]


@dataclass(frozen=True)
class BlockCurves:
    """A curve for every block.

    Attributes:
        heads: per layer, of its attention heads.
        ffn: per layer, of its neurons.
    """

    heads: tuple[Curve, ...]
    ffn: tuple[Curve, ...]

    def error(self, widths: Widths) -> float:
        """Return the sum of the errors at these widths."""
        pairs = (*zip(self.heads, widths.heads, strict=True), *zip(self.ffn, widths.ffn, strict=True))
        return sum(curve.error(width) for curve, width in pairs)


def block_curves_of(scores: Scores, limits: Limits) -> BlockCurves:
    """Take scores as errors that add up: the error of a width is the sum of the scores of what goes.

    A score of infinity protects its unit: no width below the number of protected units may stay.

    Args:
        scores: of every unit; higher = keep.
        limits: what must stay.
    """
    return BlockCurves(
        heads=tuple(_curve(values, limits.kept_heads) for values in scores.heads),
        ffn=tuple(_curve(values, limits.kept_neurons) for values in scores.ffn),
    )


def masks_at(curves: BlockCurves, widths: Widths) -> Masks:
    """Return which units stay at these widths.

    Raises:
        ValueError: a width is none of those that may stay.
    """
    return Masks(
        heads=tuple(curve.mask(width) for curve, width in zip(curves.heads, widths.heads, strict=True)),
        ffn=tuple(curve.mask(width) for curve, width in zip(curves.ffn, widths.ffn, strict=True)),
    )


def _curve(values: Tensor, kept_units: Callable[..., tuple[int, ...]]) -> Curve:
    order = order_of_removal(values)
    kept = kept_units(len(values), protected=num_protected(values))
    sums = [0.0, *values.double()[order].cumsum(0).tolist()]
    return Curve(order=order, kept=kept, errors=tuple(sums[len(values) - count] for count in kept))
