"""Whether vectors keep their neighbours: those of the same texts by two models, compared query by query."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from secateur.statistics.evenly import evenly

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

NUM_NEIGHBOURS = 10
MAX_ROWS, MAX_QUERIES = 10_000, 2_000
"""Of more rows a fixed sample is looked at, evenly spaced: 2 000 queries among 10 000 rows take 5 s on two cores."""

_QUERIES_AT_ONCE = 256
_TIE = 1e-6
"""Cosines that are closer are one: copies of a text are as good a neighbour as each other."""


@dataclass(frozen=True)
class NeighboursKept:
    """What became of the neighbours of every query.

    Attributes:
        queries: positions of the rows that were asked about, (Q,).
        recall_at_1: whether the nearest row is one that was nearest before, (Q,) of 0 and 1.
        recall_at_10: share of the ten nearest rows that are as near as the ten nearest were before, (Q,).
        rank_correlation: Spearman's, of the cosines to all other rows, (Q,).
    """

    queries: IntArray
    recall_at_1: FloatArray
    recall_at_10: FloatArray
    rank_correlation: FloatArray

    def means(self) -> dict[str, float]:
        """Return the mean of each score over the queries, the one that decides among them."""
        return {
            "recall_at_1": float(self.recall_at_1.mean()),
            "recall_at_10": float(self.recall_at_10.mean()),
            "rank_correlation": float(self.rank_correlation.mean()),
        }

    def columns(self) -> FloatArray:
        """Return the scores of every query in that order, (Q, 3)."""
        return np.stack([self.recall_at_1, self.recall_at_10, self.rank_correlation], axis=1)


def looked_at(count: int) -> IntArray:
    """Return which of so many rows count; whoever asks for nothing else need not embed the others."""
    return evenly(count, MAX_ROWS)


def neighbours_kept(found: Tensor, dense: Tensor) -> NeighboursKept:
    """Ask every row for its neighbours among all other rows, by cosine, of both models.

    Of fewer than 21 rows half of the others are asked for, since nearly all of them would be no question.

    Args:
        found: unit vectors of the model, (N, E) fp32.
        dense: of the dense one, of the same texts, (N, E'); the widths may differ.
    """
    rows = torch.from_numpy(looked_at(len(found)))
    found, dense = found[rows], dense[rows]
    queries = torch.from_numpy(evenly(len(rows), MAX_QUERIES))
    if len(rows) < 2:
        ones = np.ones(len(rows))
        return NeighboursKept(rows.numpy(), ones, ones, ones)
    parts = [_kept(some, found, dense) for some in torch.split(queries, _QUERIES_AT_ONCE)]
    first, ten, ranks = (torch.cat(column).double().numpy() for column in zip(*parts, strict=True))
    return NeighboursKept(rows[queries].numpy(), first, ten, ranks)


def _kept(queries: Tensor, found: Tensor, dense: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    others = len(found) - 1
    now, before = (_cosines(queries, vectors) for vectors in (found, dense))
    shares = []
    for wanted in (1, NUM_NEIGHBOURS):
        count = min(wanted, max(1, others // 2))
        near = before.topk(count).values[:, -1:]
        nearest = before.gather(1, now.topk(count).indices)
        shares.append((nearest >= near - _TIE).double().mean(dim=1))
    return shares[0], shares[1], _correlation(now, before)


def _cosines(queries: Tensor, vectors: Tensor) -> Tensor:
    """Return those of queries to all other rows, (Q, N - 1)."""
    cosines = vectors[queries] @ vectors.T
    others = torch.arange(len(vectors)) != queries[:, None]
    return cosines[others].view(len(queries), -1)


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    """Return ``1 - 6 sum d^2 / (n (n^2 - 1))`` of the differences d of the ranks, (Q,)."""
    count = one.shape[1]
    if count < 2:
        return torch.ones(len(one), dtype=torch.float64)
    squares = (_ranks(one) - _ranks(other)).square().sum(dim=1).double()
    return 1.0 - 6.0 * squares / (count * (count**2 - 1))


def _ranks(values: Tensor) -> Tensor:
    return values.argsort(dim=1, stable=True).argsort(dim=1)
