"""The size of coupled groups: what ``magnitude``, the regularised criteria and ``fixed_weight`` rank by."""

from typing import Literal, assert_never

import torch
from torch import Tensor
from transformers import PreTrainedModel

from secateur.budget.scores import Scores
from secateur.families import family_of
from secateur.models.groups import Groups, of_attention, of_ffn

Norm = Literal["l1", "l2", "lamp"]


@torch.no_grad()
def score_by(model: PreTrainedModel, norm: Norm) -> Scores:
    """Return the size of every coupled group, comparable over layers and kinds once divided by the price.

    * l1, l2: the norm of the group, divided by the mean of its layer's norms and shared out over the weights of a
      structure. Norms of different layers and kinds have different scales; ranking plain ones over the model
      empties the layer that happens to have the smallest weights. Units that are exactly zero are left out of
      the mean, so that a zeroed unit counts like one that was cut.
    * lamp: see ``lamp``; it is comparable as it is, because it is a share of the layer's energy.
    """
    layers = family_of(model).layers(model)
    return Scores(
        heads=tuple(_comparable(of_attention(layer.attention), norm) for layer in layers),
        ffn=tuple(_comparable(of_ffn(layer.ffn), norm) for layer in layers),
    )


def _comparable(groups: Groups, norm: Norm) -> Tensor:
    if norm == "lamp":
        return lamp(group_norms(groups, "l2").square())
    norms = group_norms(groups, norm)
    there = norms[norms > 0]
    if len(there) == 0:
        return norms
    # The allocator ranks by importance per price, and prices are about proportional to the weights of a group.
    return norms / there.mean() * groups.num_weights


def group_norms(groups: Groups, norm: Literal["l1", "l2"]) -> Tensor:
    """Return the norm of every group, (U,) on the CPU: everything that leaves with the unit counts."""
    if norm == "l1":
        return groups.sums(lambda weight: weight.float().abs()).detach().cpu()
    if norm == "l2":
        return groups.sums(lambda weight: weight.float().square()).sqrt().detach().cpu()
    assert_never(norm)


def lamp(squares: Tensor) -> Tensor:
    """Return the layer-adaptive magnitude scores of squared norms, (U,), in [0, 1].

    ``w_i^2 / sum_{j: w_j^2 >= w_i^2} w_j^2`` (Lee et al. 2021, equation 3): the share that a unit has of what
    would be left of its layer when everything smaller is gone. The largest unit of a layer scores 1, so no layer is
    emptied before the others are.

    Differs from the paper in the entries: squared norms of coupled groups instead of squared weights. Equal norms
    score alike, where a sum along a sorted list would tell them apart by their place.
    """
    ascending = squares.double().sort().values
    rest = ascending.flip(0).cumsum(0).flip(0)
    # NaN sorts behind everything; clamped, it gives NaN and no error here.
    first_not_smaller = torch.searchsorted(ascending, squares.double()).clamp_max(len(squares) - 1)
    return (squares.double() / rest[first_not_smaller].clamp_min(torch.finfo(torch.float32).tiny)).float()
