"""Fitting the last projection of a block to a target, by streaming normal equations."""

from typing import Literal, assert_never

import torch
from torch import Tensor

from secateur.inference.device import for_sums, wide
from secateur.second_order.blocks import Block
from secateur.second_order.surgeon import damped_

Solution = Literal["bias", "least_squares", "scales"]

_LARGEST_SCALE = 10.0
"""Beyond it a fit of scales is taken for failed, as by Kwon et al."""


class Fit:
    """Collects ``sum w x x^T`` and ``sum w x e^T`` of inputs x and missing outputs e, then changes the weights.

    What is fitted is the change of the weights, so the ridge pulls towards the weights as they are.
    """

    def __init__(self, block: Block, keep: Tensor, *, solution: Solution) -> None:
        """Begin an empty fit.

        Args:
            block: whose projection is fitted.
            keep: (U,) units whose columns may change.
            solution: what may change, see ``repair_``.
        """
        self.block = block
        self._solution = solution
        self._keep = keep & (solution != "bias")
        self._kept = block.inputs_kept(self._keep)
        # Without a bias there is nothing for a constant input to change.
        self._constant = 0.0 if block.projection.bias is None else 1.0
        size = len(self._kept)
        device = for_sums(block.projection.weight.device)
        self._gram = torch.zeros(size, size, dtype=torch.float64, device=device)
        self._cross = torch.zeros(size, block.projection.out_features, dtype=torch.float64, device=device)
        self._weight = torch.zeros((), dtype=torch.float64, device=device)

    def add_(self, inputs: Tensor, missing: Tensor, weights: Tensor) -> None:
        """Add the tokens of a batch.

        Args:
            inputs: (tokens, inputs) of the projection.
            missing: (tokens, E), target minus output.
            weights: (tokens,) how much each token counts.
        """
        constant = inputs.new_full((len(inputs), 1), self._constant)
        extended = torch.cat([inputs, constant], dim=1)[:, self._kept.to(inputs.device)]
        roots = weights.to(inputs).sqrt()[:, None]
        extended = extended * roots
        self._gram += (extended.T @ extended).to(self._gram.device)
        self._cross += (extended.T @ (missing * roots)).to(self._cross.device)
        self._weight += wide(weights).sum().to(self._weight.device)

    def apply_(self) -> None:
        """Change the projection in place; without any weight on any token it stays as it is."""
        if float(self._weight) == 0.0:
            return
        self._gram, self._cross = self._gram.cpu(), self._cross.cpu()  # copied once; they are solved there
        if self._constant == 0.0:
            self._gram[-1, -1] = 1.0
        weight = self.block.extended_weight()
        if self._solution == "scales":
            features = self._kept[:-1]
            weight[:, features] *= self._scales(weight)[None, :]
        elif self._solution == "bias" or self._solution == "least_squares":  # noqa: PLR1714 - mypy narrows this form
            factor = torch.linalg.cholesky(damped_(self._gram))
            weight[:, self._kept] += torch.cholesky_solve(self._cross, factor).T
        else:
            assert_never(self._solution)
        self.block.write_(weight)

    def _scales(self, weight: Tensor) -> Tensor:
        """Return the best factor of every kept feature, the same for the features of a unit.

        With ``a_u = W_u x_u`` the output of unit u, ``<a_u, a_v>`` and ``<a_u, e>`` follow from the moments.
        """
        size, num = self.block.unit_size, int(self._keep.sum())
        own = weight[:, self._kept[:-1]]
        products = (self._gram[:-1, :-1] * (own.T @ own)).view(num, size, num, size).sum(dim=(1, 3))
        wanted = (self._cross[:-1] * own.T).sum(dim=1).view(num, size).sum(dim=1)
        ridge = torch.eye(num, dtype=torch.float64) * products.diagonal().mean() * 0.01
        tiny = torch.eye(num, dtype=torch.float64) * torch.finfo(torch.float64).tiny
        scales = 1.0 + torch.linalg.solve(products + ridge + tiny, wanted)
        if num == 0 or bool((scales.abs() > _LARGEST_SCALE).any()):
            scales = torch.ones_like(scales)
        features: Tensor = scales.repeat_interleave(size)
        return features
