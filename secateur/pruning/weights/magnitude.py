"""The size of single weights, plain or as a share of their matrix."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from secateur.pruning.weights.matrices import WeightScores, prunable


@torch.no_grad()
def sizes(model: PreTrainedModel, *, norm: str) -> WeightScores:
    """Return |w|, or its LAMP score for norm ``lamp``; l1 and l2 are the same on single weights."""
    of_matrix = lamp if norm == "lamp" else torch.abs
    return {name: of_matrix(linear.weight.detach().float()) for name, linear in prunable(model).items()}


def lamp(weight: Tensor) -> Tensor:
    """Return w_i^2 / sum of w_j^2 over all j that are not smaller, (out, in) fp32 in [0, 1].

    The share of what is left of the matrix when everything smaller has gone, so the largest weight of every
    matrix scores 1 and no matrix is emptied by a ranking over the whole model (Lee et al. 2021, equation 4).
    Of equal weights the later counts as the smaller one.
    """
    squares = weight.double().square().flatten().flip(0)
    order = squares.argsort(stable=True)
    ranked = squares[order]
    left = ranked.flip(0).cumsum(0).flip(0).clamp_min(torch.finfo(torch.float64).tiny)
    shares = torch.empty_like(ranked)
    shares[order] = ranked / left
    return shares.flip(0).view_as(weight).float()
