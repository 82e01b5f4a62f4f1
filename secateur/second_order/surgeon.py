"""Structured optimal brain surgeon on one matrix: which groups of inputs go, and what the others make up for.

Shape letters: ``E`` outputs, ``U`` units (heads or neurons), ``D`` features per unit, ``N = U * D + 1`` inputs,
the last of which is the constant 1 of the bias.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_CHUNK, _WIDE_CHUNK = 32, 128
"""Removals between two updates of the whole inverse: it is as large as the cache, so it is touched rarely."""
_WIDE = 2048
"""Inputs of a matrix from which on what it is updated by is looked up in blocks: neither it nor its inverse fits into
a cache. 4 864 columns of 896 outputs take 24 s of two cores one by one, and 8 s in blocks."""
_AHEAD = 384
"""Columns that are likely to go next, whose products with all others are found at once."""


@dataclass(frozen=True)
class Removals:
    """A greedy order and what it costs.

    Attributes:
        order: (U,) int64, first to go first.
        errors: (U + 1,) float64, the least error when so many units are gone; 0 comes first.
    """

    order: Tensor
    errors: Tensor


def damped_(gram: Tensor, *, damping: float = 0.01) -> Tensor:
    """Add a share of the mean diagonal to the diagonal, in place; the constant input at the end is not damped.

    Args:
        gram: (N, N).
        damping: share of the mean; 1 % is what GPTQ, SparseGPT and ZipLM take.
    """
    diagonal = gram.diagonal()[:-1]
    added = torch.full_like(gram.diagonal(), float(diagonal.mean()) * damping + torch.finfo(gram.dtype).tiny)
    added[-1] = 0.0
    gram.diagonal().add_(added)
    return gram


def remove_groups(weight: Tensor, hessian: Tensor, *, factors: Tensor) -> Removals:
    """Remove units one at a time, each time the one whose loss the others can make up for best.

    With ``H`` the second moment of the inputs, removing the columns ``S`` costs at least
    ``1/2 tr(W_S ([H^-1]_SS)^-1 W_S^T)`` (Kurtic et al. 2023, ZipLM, equation 3), which is reached by
    ``W - W_S ([H^-1]_SS)^-1 [H^-1]_S,:``; the inverse of what is left follows by a down-date (equation 4). The sum
    of the scores is the error of the best weights on what stays.

    Differs from the paper in: the last input is the constant 1 of a bias, which never goes; nothing is normalised.

    Args:
        weight: (E, N) with the bias as last column.
        hessian: (N, N), positive definite.
        factors: (U,) preset multipliers of the scores; infinity keeps its unit. The features of a unit stand
            next to each other.
    """
    num_units = len(factors)
    size = (weight.shape[1] - 1) // max(num_units, 1)
    factors = factors.double()
    going = [] if num_units == 0 else (_columns if size == 1 else _groups)(weight, hessian, factors)
    order = [unit for unit, _ in going]
    order += sorted(set(range(num_units)) - set(order), reverse=True)
    scores = torch.tensor([score for _, score in going] + [torch.inf] * (num_units - len(going)), dtype=torch.float64)
    errors = torch.cat([torch.zeros(1, dtype=torch.float64), scores.cumsum(dim=0)])
    return Removals(order=torch.tensor(order, dtype=torch.int64), errors=errors)


def solve_kept(weight: Tensor, hessian: Tensor, kept: Tensor) -> Tensor:
    """Return the best weights on what stays: ``W_K = W H_{:,K} (H_KK)^-1``, (E, kept).

    Args:
        weight: (E, N) before any removal.
        hessian: (N, N).
        kept: (kept,) int64 inputs, the constant included.
    """
    factor = torch.linalg.cholesky(hessian[kept][:, kept])
    return torch.cholesky_solve(hessian[kept] @ weight.T, factor).T


def _groups(weight: Tensor, hessian: Tensor, factors: Tensor) -> list[tuple[int, float]]:
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    weight = weight.clone()
    alive = [unit for unit, factor in enumerate(factors.tolist()) if factor != torch.inf]
    size = (weight.shape[1] - 1) // len(factors)
    going: list[tuple[int, float]] = []
    while alive:
        scores = {unit: _score(weight, inverse, _features(unit, size)) * float(factors[unit]) for unit in alive}
        unit = min(alive, key=lambda unit: (scores[unit], -unit))  # of equals the higher index goes first
        going.append((unit, scores[unit]))
        features = _features(unit, size)
        pivot = torch.linalg.solve(inverse[features][:, features], inverse[features])
        weight -= weight[:, features] @ pivot
        inverse -= inverse[:, features] @ pivot
        alive.remove(unit)
    return going


def _score(weight: Tensor, inverse: Tensor, features: Tensor) -> float:
    own = weight[:, features]
    loss = 0.5 * float((torch.linalg.solve(inverse[features][:, features], own.T).T * own).sum())
    return max(loss, 0.0)


def _features(unit: int, size: int) -> Tensor:
    return torch.arange(unit * size, (unit + 1) * size)


def _columns(weight: Tensor, hessian: Tensor, factors: Tensor) -> list[tuple[int, float]]:
    """Do the same for single columns: exact after every removal, but the matrices are updated in chunks."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    names = torch.arange(weight.shape[1])
    factors = torch.cat([factors, factors.new_full((1,), torch.inf)])  # the bias never goes
    wide = weight.shape[1] > _WIDE
    going: list[tuple[int, float]] = []
    while (left := int(factors.isfinite().sum())) > 0:
        chunk = (_WideChunk if wide else _Chunk)(weight, inverse, factors)
        for _ in range(min(chunk.size, left)):
            place, score = chunk.remove_next_()
            going.append((int(names[place]), score))
        stay = torch.ones(len(names), dtype=torch.bool)
        stay[chunk.places] = False
        weight, inverse = chunk.updated(stay)
        names, factors = names[stay], factors[stay]
    return going


class _Chunk:
    """A few removals: the score of every column is kept exact, the matrices stay as they were."""

    size = _CHUNK

    def __init__(self, weight: Tensor, inverse: Tensor, factors: Tensor) -> None:
        self.places: list[int] = []
        self._weight, self._inverse = weight, inverse
        self._stays = factors.isinf()
        self._factors = factors.masked_fill(self._stays, 1.0)
        self._squares = weight.square().sum(dim=0)
        self._diagonal = inverse.diagonal().clone()
        self._columns = weight.new_zeros(self.size, weight.shape[1])  # of the inverse, over their pivot's root
        self._directions = weight.new_zeros(self.size, weight.shape[0])  # columns of the weight, over the same root

    def remove_next_(self) -> tuple[int, float]:
        """Choose a column, account for its removal, and return its place and score."""
        scores = 0.5 * self._squares / self._diagonal * self._factors
        scores[self._stays] = torch.inf
        place = len(scores) - 1 - int(scores.flip(0).argmin())
        done = len(self.places)
        columns, directions = self._columns[:done], self._directions[:done]
        column = self._inverse[place] - columns[:, place] @ columns
        direction = self._weight[:, place] - columns[:, place] @ directions
        root = column[place].sqrt()
        column, direction = column / root, direction / root
        products = self._products(place, direction, root) - (directions @ direction) @ columns
        self._squares -= 2.0 * products * column - direction.square().sum() * column.square()
        self._squares.clamp_min_(0.0)
        self._diagonal -= column.square()
        self._columns[done], self._directions[done] = column, direction
        self._stays[place] = True
        self.places.append(place)
        return place, float(scores[place])

    def _products(self, place: int, direction: Tensor, root: Tensor) -> Tensor:
        """Return the products of a direction with the columns of the weight as they were, (N,)."""
        return direction @ self._weight

    def updated(self, stay: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight and inverse of the columns that stay."""
        columns = self._columns[: len(self.places)][:, stay]
        weight = self._weight[:, stay] - self._directions[: len(self.places)].T @ columns
        return weight, self._inverse[stay][:, stay] - columns.T @ columns


class _WideChunk(_Chunk):
    """The same for large matrices, but for the last digits: what is likely to go is multiplied as one block."""

    size = _WIDE_CHUNK

    def __init__(self, weight: Tensor, inverse: Tensor, factors: Tensor) -> None:
        super().__init__(weight, inverse, factors)
        scores = (self._squares / self._diagonal * self._factors).masked_fill(self._stays, torch.inf)
        likely = scores.topk(min(_AHEAD, len(scores)), largest=False).indices
        self._rows = {place: row for row, place in enumerate(likely.tolist())}
        self._ahead = weight[:, likely].T @ weight
        self._own = weight.new_zeros(self.size, weight.shape[1])

    def _products(self, place: int, direction: Tensor, root: Tensor) -> Tensor:
        done, row = len(self.places), self._rows.get(place)
        if row is None:
            own = direction @ self._weight
        else:
            own = (self._ahead[row] - self._columns[:done, place] @ self._own[:done]) / root
        self._own[done] = own
        return own

    def updated(self, stay: Tensor) -> tuple[Tensor, Tensor]:
        """See ``_Chunk.updated``; one copy of the inverse."""
        kept, done = stay.nonzero()[:, 0], len(self.places)
        columns = self._columns[:done, kept]
        weight = self._weight[:, kept].addmm_(self._directions[:done].T, columns, alpha=-1.0)
        return weight, self._inverse[kept[:, None], kept].addmm_(columns.T, columns, alpha=-1.0)
