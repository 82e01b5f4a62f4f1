"""``magnitude``: a structure is as important as its weights are large."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.models.families import family_of
from secateur.models.structures import Layer
from secateur.pruning.scores import Scores
from secateur.training.batches import Batch


@torch.no_grad()
def score(model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision) -> Scores:
    """Return the L2 norm of every coupled structure, relative to its layer.

    The group of a head is its rows of query, key and value with their biases and its columns of the output
    projection; that of a neuron its row of the up projection(s) with bias and its column of the down
    projection: everything that leaves with it (Fang et al. 2023, DepGraph, section 3).

    Norms of different layers and kinds have different scales, so each vector is divided by its mean and shared
    out over the weights of a structure: what stays comparable is the norm relative to the layer. Differs from
    ranking plain norms over the model, which empties the layer that happens to have the smallest weights.

    Args:
        model: its weights are all that is looked at.
        batches: not read; the criterion needs no data.
        precision: not used.
    """
    layers = family_of(model).layers(model)
    return Scores(
        heads=tuple(_relative(heads(layer), group_size=_head_size(layer)) for layer in layers),
        ffn=tuple(_relative(neurons(layer), group_size=_neuron_size(layer)) for layer in layers),
    )


def heads(layer: Layer) -> Tensor:
    """Return the group norm of every head, (H,)."""
    attention = layer.attention
    rows = sum(_row_squares(linear) for linear in (attention.query, attention.key, attention.value))
    squares = rows + attention.output.weight.square().sum(dim=0)
    return squares.view(-1, attention.head_dim).sum(dim=1).sqrt()


def neurons(layer: Layer) -> Tensor:
    """Return the group norm of every neuron, (F,)."""
    rows = sum(_row_squares(linear) for linear in layer.ffn.up)
    return (rows + layer.ffn.down.weight.square().sum(dim=0)).sqrt()


def _row_squares(linear: nn.Linear) -> Tensor:
    squares = linear.weight.square().sum(dim=1)
    return squares if linear.bias is None else squares + linear.bias.square()


def _relative(norms: Tensor, *, group_size: int) -> Tensor:
    # The allocator ranks by importance per price, and prices are about proportional to the weights of a group.
    return norms / norms.mean() * group_size


def _head_size(layer: Layer) -> int:
    return 4 * layer.attention.head_dim * layer.attention.query.in_features


def _neuron_size(layer: Layer) -> int:
    return (len(layer.ffn.up) + 1) * layer.ffn.down.out_features
