"""Another basis for the residual stream: a model with RMS norms computes the same in any of them."""

import copy

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from secateur.errors import ModelError
from secateur.families import family_of
from secateur.models.hidden import cut_hidden_

_RIDGE = 1e-6
"""Of the mean square of a coordinate: coordinates that no token has would have any weight else."""


def can_rotate(model: PreTrainedModel) -> bool:
    """Say whether ``rotate_`` works for a model."""
    return family_of(model).readings(model) is not None


@torch.no_grad()
def rotate_(model: PreTrainedModel, basis: Tensor) -> None:
    """Write the residual stream in another orthonormal basis, in place; the logits stay, but for rounding.

    The gain of every norm is folded into the linears behind it; then what writes the stream puts out its coordinates
    in the new basis and what reads it expects them (Ashkboos et al. 2024, SliceGPT, sections 3.1 and 3.2).

    Differs from the paper in: one basis for all layers, so no matrices between two bases are added to the shortcuts,
    and the model stays one that plain transformers loads. Where the head is the token embeddings, one table stays
    both (the paper's code gives the head its own): the last gain g cannot be folded into it, so the last norm
    multiplies by basis^T diag(g) basis instead (``MatrixNorm``); such a model is read by our loader, or padded.

    Args:
        model: changed in place.
        basis: (E, E), a basis vector per column.

    Raises:
        ModelError: the norms are no RMS norms or do not stand in front of the blocks, the architecture has one hidden
            size alone, or the basis has another size or is not orthonormal.
    """
    family = family_of(model)
    hidden_size = family.hidden_size(model.config)
    if not can_rotate(model):
        # Says it where there is one hidden size alone.
        family.write_hidden_size_(copy.deepcopy(model.config), hidden_size)
        raise ModelError(
            f"the residual stream of this {model.config.model_type} model cannot be rotated; that takes RMS norms in "
            "front of the blocks, and none behind them. Keeping some of its features works (cut_hidden_)"
        )
    wide = _wide(basis)
    if wide.shape != (hidden_size, hidden_size) or (wide.T @ wide - torch.eye(len(wide))).abs().max() > 1e-6:
        raise ModelError(f"a basis of {tuple(basis.shape)} is not orthonormal in {hidden_size} dimensions")
    family.write_gain_matrix_(model.config)
    family.prepare_(model)
    for reading in family.readings(model) or ():
        gain = reading.norm.get_parameter("weight")
        if gain.dim() > 1:
            gain.copy_(wide.T @ _wide(gain) @ wide)
            continue
        for linear in reading.readers:
            linear.weight.copy_((_wide(linear.weight) * _wide(gain)) @ wide)
        gain.fill_(1.0)
    for layer in family.layers(model):
        for linear in (layer.attention.output, layer.ffn.down):
            linear.weight.copy_(wide.T @ _wide(linear.weight))
            if linear.bias is not None:
                linear.bias.copy_(wide.T @ _wide(linear.bias))
    for module in family.embedding_modules(model):
        table = module.get_parameter("weight")
        table.copy_(_wide(table) @ wide)


@torch.no_grad()
def keep_coordinates_(model: PreTrainedModel, count: int) -> None:
    """Keep the first coordinates of a rotated residual stream and drop the others, in place.

    The norms now average over fewer numbers, so their gain becomes ``sqrt(E / E')``: where the dropped coordinates
    were about zero, the logits stay. What the head reads of a stream is written in coordinates of the table; where it
    is the embeddings, those that go are expressed by those that stay, with the least squares over all tokens.
    """
    family = family_of(model)
    hidden_size = family.hidden_size(model.config)
    for norm in family.stream_norms(model):
        gain = norm.get_parameter("weight")
        if gain.dim() > 1:
            _express_by_first_(gain, _table(model), count=count)
    cut_hidden_(model, torch.arange(hidden_size) < count)
    for norm in family.stream_norms(model):
        norm.get_parameter("weight").mul_((hidden_size / count) ** 0.5)


def principal_basis(moments: Tensor) -> Tensor:
    """Return the eigenvectors of a symmetric matrix (E, E) as columns, the one with the largest value first; float64.

    Signs are fixed (the largest entry is positive), so that the same matrix gives the same basis.
    """
    vectors: Tensor = torch.linalg.eigh(moments.double()).eigenvectors.flip(1)
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0)


def write_kept_(config: PreTrainedConfig, count: int, *, rotate: bool = True) -> None:
    """Record in a config what ``keep_coordinates_`` leaves, or where nothing is rotated ``cut_hidden_``."""
    family = family_of(config)
    if rotate and family.rotates(config) and count < family.hidden_size(config):
        family.write_gain_matrix_(config)
    family.write_hidden_size_(config, count)


def _express_by_first_(gain: Tensor, table: Tensor, *, count: int) -> None:
    """Let the first columns of a table (V, E) say what all of them said of the first features of the stream."""
    wide, matrix = _wide(table), _wide(gain)
    moments = wide.T @ wide
    first = moments[:count, :count]
    ridge = _RIDGE * first.diagonal().mean() * torch.eye(count, dtype=torch.float64)
    found = matrix[:count, :count] + torch.linalg.solve(first + ridge, moments[:count, count:] @ matrix[count:, :count])
    gain[:count, :count] = found.to(gain)


def _table(model: PreTrainedModel) -> Tensor:
    return family_of(model).embeddings(model).get_parameter("weight")


def _wide(values: Tensor) -> Tensor:
    """Return values in float64 on the CPU: not every device has that type."""
    return values.detach().cpu().double()
