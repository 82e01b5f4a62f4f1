"""Another basis for the residual stream: a model with RMS norms computes the same in any of them."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from secateur.errors import ModelError
from secateur.families import family_of
from secateur.models.heads import head_of
from secateur.models.hidden import cut_hidden_


def can_rotate(model: PreTrainedModel) -> bool:
    """Say whether ``rotate_`` works for a model.

    Where the head is tied to the embeddings, the gain of the last norm stands between two uses of one matrix and
    cannot be folded into it.
    """
    is_tied = head_of(model).per_token and bool(model.config.tie_word_embeddings)
    return family_of(model).readings(model) is not None and not is_tied


@torch.no_grad()
def rotate_(model: PreTrainedModel, basis: Tensor) -> None:
    """Write the residual stream in another orthonormal basis, in place; the logits stay, but for rounding.

    The gain of every norm is folded into the linears behind it; then what writes the stream puts out its coordinates
    in the new basis and what reads it expects them (Ashkboos et al. 2024, SliceGPT, sections 3.1 and 3.2).

    Differs from the paper in: one basis for all layers, so no matrices between two bases are added to the shortcuts,
    and the model stays one that plain transformers loads.

    Args:
        model: changed in place.
        basis: (E, E), a basis vector per column.

    Raises:
        ModelError: the norms are no RMS norms, the head is tied to the embeddings, or the basis has another size or is
            not orthonormal.
    """
    family = family_of(model)
    readings, hidden_size = family.readings(model), family.hidden_size(model.config)
    if readings is None or not can_rotate(model):
        raise ModelError(
            f"the residual stream of this {model.config.model_type} model cannot be rotated; that takes RMS norms and "
            "a head of its own. Keeping some of its features works (cut_hidden_)"
        )
    wide = basis.double()
    if wide.shape != (hidden_size, hidden_size) or (wide.T @ wide - torch.eye(len(wide))).abs().max() > 1e-6:
        raise ModelError(f"a basis of {tuple(basis.shape)} is not orthonormal in {hidden_size} dimensions")
    for reading in readings:
        gain = reading.norm.get_parameter("weight")
        for linear in reading.readers:
            linear.weight.copy_((linear.weight.double() * gain.double()) @ wide)
        gain.fill_(1.0)
    for layer in family.layers(model):
        for linear in (layer.attention.output, layer.ffn.down):
            linear.weight.copy_(wide.T @ linear.weight.double())
            if linear.bias is not None:
                linear.bias.copy_(wide.T @ linear.bias.double())
    for module in family.embedding_modules(model):
        table = module.get_parameter("weight")
        table.copy_(table.double() @ wide)


def keep_coordinates_(model: PreTrainedModel, count: int) -> None:
    """Keep the first coordinates of a rotated residual stream and drop the others, in place.

    The norms now average over fewer numbers, so their gain becomes ``sqrt(E / E')``: where the dropped coordinates
    were about zero, the logits stay.
    """
    family = family_of(model)
    hidden_size = family.hidden_size(model.config)
    cut_hidden_(model, torch.arange(hidden_size) < count)
    with torch.no_grad():
        for norm in family.stream_norms(model):
            norm.get_parameter("weight").mul_((hidden_size / count) ** 0.5)


def principal_basis(moments: Tensor) -> Tensor:
    """Return the eigenvectors of a symmetric matrix (E, E) as columns, the one with the largest value first; float64.

    Signs are fixed (the largest entry is positive), so that the same matrix gives the same basis.
    """
    vectors: Tensor = torch.linalg.eigh(moments.double()).eigenvectors.flip(1)
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0)
