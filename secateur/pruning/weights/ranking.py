"""Which weights go: one ranking over the whole model, whatever a criterion compares within."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from secateur.errors import BudgetError, ModelError
from secateur.pruning.weights.matrices import WeightMasks, WeightScores

Comparison = Literal["model", "matrix", "row"]
"""What a score is compared within: all weights that may go, its matrix, or its output row."""

GONE, STAYS = -torch.inf, torch.inf


@dataclass(frozen=True)
class Pattern:
    """Of every ``group`` neighbouring inputs of an output row, at most ``stay`` are not zero."""

    stay: int
    group: int

    @classmethod
    def named(cls, name: str | None) -> "Pattern | None":
        """Read ``2:4``."""
        if name is None:
            return None
        stay, _, group = name.partition(":")
        return cls(stay=int(stay), group=int(group))

    @property
    def sparsity(self) -> float:
        """Share that goes once every group is at its limit."""
        return 1.0 - self.stay / self.group


@dataclass(frozen=True)
class Removal:
    """What is to go of one matrix.

    Attributes:
        num_removed: weights that go in all, those that are gone included.
        gone: removed before, (out, in) bool: they go again.
        divided: suppressed before, (out, in) bool: they keep their value if they are chosen again.
        divisor: what suppressed weights are divided by; None removes.
        pattern: see ``choose``.
    """

    num_removed: int
    gone: Tensor
    divided: Tensor
    divisor: float | None
    pattern: Pattern | None


def choose(
    scores: WeightScores,
    *,
    num_removed: int,
    comparison: Comparison,
    gone: Mapping[str, Tensor],
    factors: Mapping[str, float],
    pattern: Pattern | None,
) -> WeightMasks:
    """Choose what stays so that exactly ``num_removed`` weights go.

    What is gone already goes first, then what has the factor 0, then the lowest products of relative score and
    factor; of equal ones the later goes first. So a higher count always takes a superset. Within a matrix or a
    row, the relative score of the weight of rank r of n is n / (n - r - 1/2), r = 0 for the lowest: without
    factors each matrix or row then loses the same share, and with factors keeps a share proportional to its
    factor.

    Args:
        scores: higher = keep; 0 or more where there are factors.
        num_removed: in all, those that are gone included; fewer than are gone already counts as those.
        comparison: what the scores are compared within.
        gone: True = removed before.
        factors: of every matrix; 0 goes first, infinity stays.
        pattern: limits what may go of each group. Groups start at input 0; of a shorter last group as many may
            stay as of a full one, so a width that is no multiple of the group ends a little below the pattern's
            sparsity, and the count with it.

    Raises:
        ModelError: a score is not finite; the matrix is named.
        BudgetError: factors or the pattern keep more than ``num_removed`` allows.
    """
    _check_finite(scores)
    ranked = {
        name: _ranked(values, comparison=comparison, gone=gone[name], factor=factors[name], pattern=pattern)
        for name, values in scores.items()
    }
    count = max(num_removed, sum(int(mask.sum()) for mask in gone.values()))
    removable = sum(int((values != STAYS).sum()) for values in ranked.values())
    if count > removable:
        total = sum(values.numel() for values in ranked.values())
        if pattern is None or count > round(pattern.sparsity * total):
            why = "multipliers of .inf" if pattern is None else f"the pattern {pattern.stay}:{pattern.group}"
            raise BudgetError(
                f"a sparsity of {count / total:.4g} is not reachable: {why} let go of {removable} of {total} weights; "
                f"ask for {np.floor(1e4 * removable / total) / 1e4:.4f} or less"
            )
        count = removable
    return _kept(ranked, count)


def may_go(scores: Tensor, pattern: Pattern) -> Tensor:
    """Return the weights that a pattern lets go: the lowest of every group of a row, (out, in) bool."""
    rows, columns = scores.shape
    missing = -columns % pattern.group
    padding = scores.new_full((rows, missing), GONE)  # a shorter group is filled up by zeros that cost nothing
    groups = torch.cat([scores, padding], dim=1).view(rows, -1, pattern.group)
    ranks = _ranks(groups)
    return (ranks < pattern.group - pattern.stay).view(rows, -1)[:, :columns]


def lowest(values: Tensor, count: int) -> Tensor:
    """Return a mask of exactly ``count`` of the lowest values, (n,) bool; of equal ones the later goes first."""
    flat = values.cpu().numpy()
    if count == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    threshold = np.partition(flat, count - 1)[count - 1]
    chosen = flat < threshold
    ties = np.flatnonzero(flat == threshold)
    chosen[ties[len(ties) - (count - int(chosen.sum())) :]] = True
    return torch.from_numpy(chosen).to(values.device)


def _ranked(scores: Tensor, *, comparison: Comparison, gone: Tensor, factor: float, pattern: Pattern | None) -> Tensor:
    values = scores.masked_fill(gone, GONE)
    relative = _relative(values, comparison)
    if factor == 0.0:
        ranked = -1.0 / relative  # below every other score, in the same order
    elif factor == STAYS:
        ranked = torch.full_like(relative, STAYS)
    else:
        ranked = relative * factor
    if pattern is not None:
        ranked = ranked.masked_fill(~may_go(values, pattern), STAYS)
    return ranked.masked_fill(gone, GONE)


def _relative(values: Tensor, comparison: Comparison) -> Tensor:
    if comparison == "model":
        return values
    groups = values if comparison == "row" else values.view(1, -1)
    size = groups.shape[1]
    return (size / (size - _ranks(groups).double() - 0.5)).float().view_as(values)


def _ranks(groups: Tensor) -> Tensor:
    """Return the rank of every value in the last dimension, 0 for the lowest; of equal ones the later is lower."""
    order = groups.flip(-1).argsort(dim=-1, stable=True)
    places = torch.arange(groups.shape[-1], device=groups.device).expand_as(order)
    return torch.empty_like(order).scatter_(-1, order, places).flip(-1)


def _kept(ranked: Mapping[str, Tensor], count: int) -> WeightMasks:
    removed = lowest(torch.cat([values.cpu().flatten() for values in ranked.values()]), count)
    parts = torch.split(~removed, [values.numel() for values in ranked.values()])
    return WeightMasks({name: part.view(ranked[name].shape) for name, part in zip(ranked, parts, strict=True)})


def _check_finite(scores: WeightScores) -> None:
    for name, values in scores.items():
        if not bool(values.isfinite().all()):
            raise ModelError(
                f"the scores of {name} are not finite; check the checkpoint for NaN or infinite weights, "
                "or start from the round before"
            )
