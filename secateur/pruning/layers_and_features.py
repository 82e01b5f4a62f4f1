"""What is chosen for the whole model at once: which layers stay, and which features of the residual stream."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.families import family_of
from secateur.inference.device import for_sums, wide
from secateur.kinds.registry import kind_named
from secateur.models.depth import drop_layers_
from secateur.models.heads import last_of_head
from secateur.models.hidden import cut_hidden_
from secateur.models.hooks import hooked
from secateur.models.rotation import can_rotate, keep_coordinates_, principal_basis, rotate_
from secateur.progress import progress
from secateur.training.batches import Batch, Rows, batches_of
from secateur.training.objectives import forward, logits_of, pad_token_id

_BATCH = 64
_TEXTS = 8
"""Rows in a batch that have logits at every token: the sort that nobody keeps."""
_TINY = torch.finfo(torch.float32).tiny


def reshape_(
    model: PreTrainedModel,
    rows: Rows,
    *,
    num_layers: int | None,
    hidden_size: int | None,
    precision: Precision,
    rotate: bool = True,
) -> tuple[list[int] | None, Tensor | None]:
    """Bring depth and hidden size to what is asked, in place; nothing happens where that is so already.

    Args:
        model: changed in place.
        rows: calibration rows.
        num_layers: layers that stay; None = all.
        hidden_size: features of the residual stream that stay; None = all.
        precision: arithmetic of the matrix products.
        rotate: False keeps features, which can be compared with those of the dense model.

    A stream that can be rotated (``can_rotate``) is: what stays are its principal coordinates, and there is no mask,
    because none of them is a feature of the dense model. Of any other stream the largest features stay.

    Returns:
        The layers that were kept and the mask of the features that were, each None when nothing of its kind went.
    """
    family = family_of(model)
    layers, features = None, None
    if num_layers is not None and num_layers < len(family.layers(model)):
        layers = best_layers(model, rows, num_layers=num_layers, precision=precision)
        drop_layers_(model, layers)
    if hidden_size is None or hidden_size >= family.hidden_size(model.config):
        return layers, None
    if rotate and can_rotate(model):
        rotate_(model, best_basis(model, rows, precision=precision))
        keep_coordinates_(model, hidden_size)
    else:
        features, of_head = best_features(model, rows, hidden_size=hidden_size, precision=precision)
        cut_hidden_(model, features, keep_head=of_head)
    return layers, features


def best_layers(model: PreTrainedModel, rows: Rows, *, num_layers: int, precision: Precision) -> list[int]:
    """Choose the layers that stay, by taking out the one whose loss hurts least, again and again.

    Every candidate is really run: the loss is the divergence from the model's own logits on the rows (of a generator,
    at all of their tokens). For a dozen
    layers this is cheap, and unlike a score of single layers (block influence, Men et al. 2024) it sees what the
    layers that are left make of it.

    Args:
        model: left as it is.
        rows: calibration rows.
        num_layers: how many stay; with as many as there are, nothing is computed.
        precision: arithmetic of the matrix products.

    Returns:
        Numbers of the layers that stay, ascending.
    """
    left = list(range(len(family_of(model).layers(model))))
    if num_layers >= len(left):
        return left
    kind = kind_named(rows.kind)
    expected = logits_of(model, rows, batch_size=_BATCH, precision=precision) if kind.keeps_logits else None

    def divergence(keep: Sequence[int]) -> float:
        candidate = copy.deepcopy(model)
        drop_layers_(candidate, keep)
        if expected is None:
            return divergence_of_tokens(candidate, model, rows, precision=precision)
        return float(kind.apart(logits_of(candidate, rows, batch_size=_BATCH, precision=precision), expected))

    total = sum(range(num_layers + 1, len(left) + 1))
    with progress("layers", total=total) as advance:
        while len(left) > num_layers:
            candidates = [[layer for layer in left if layer != gone] for gone in left]
            losses = []
            for candidate in candidates:
                losses.append(divergence(candidate))
                advance()
            left = candidates[losses.index(min(losses))]
    return left


@torch.no_grad()
def best_features(
    model: PreTrainedModel, rows: Rows, *, hidden_size: int, precision: Precision
) -> tuple[Tensor, Tensor]:
    """Choose the features of the residual stream that stay: those that are large behind the norms.

    The importance of a feature is the mean of its absolute value over tokens, squared and summed over rows and
    norms (Muralidharan et al. 2024, Minitron, section 2.2: mean over the sequence, L2 over the batch). The features
    between the linears of the head are chosen the same way, by what enters the last one. (A head with one linear has
    none; the second mask is without meaning then.)

    Returns:
        Masks of the stream and of the head, (E,) each, True = keep, with ``hidden_size`` features each.
    """
    family = family_of(model)
    norms = family.stream_norms(model)
    last = last_of_head(model)
    width = family.hidden_size(model.config)
    stream, head = (torch.zeros(width, dtype=torch.float64, device=for_sums(model.device)) for _ in range(2))
    current: list[Batch] = []

    def see_norm(_: nn.Module, __: object, output: Tensor) -> None:
        real = current[0].attention_mask[..., None]
        means = (output.abs() * real).sum(dim=1) / real.sum(dim=1)
        stream.add_(wide(means).square().sum(dim=0))

    def see_head(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        head.add_(wide(inputs[0].flatten(0, -2)).square().sum(dim=0))

    model.eval()
    with hooked(before=[(last, see_head)], after=[(norm, see_norm) for norm in norms]):
        size = _BATCH if kind_named(rows.kind).keeps_logits else _TEXTS
        for batch in batches_of(rows, batch_size=size, pad_token_id=pad_token_id(model)):
            current[:] = [batch.to(model.device)]
            forward(model, current[0], precision=precision)
    return _largest(stream.cpu(), hidden_size), _largest(head.cpu(), hidden_size)


@torch.no_grad()
def best_basis(model: PreTrainedModel, rows: Rows, *, precision: Precision) -> Tensor:
    """Return the principal axes of the residual stream as columns, (E, E) float64, the strongest first.

    They are those of what the blocks and the head are given, before the gains: every token counts the same in every
    place (Ashkboos et al. 2024, SliceGPT, section 3.3, one basis instead of one per block). No mean is taken off,
    because an RMS norm takes none off.
    """
    readings = family_of(model).readings(model)
    assert readings is not None  # see can_rotate
    width = family_of(model).hidden_size(model.config)
    moments = torch.zeros(width, width, dtype=torch.float64, device=for_sums(model.device))
    current: list[Tensor] = []

    def see(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        tokens = inputs[0][current[0]].float()
        tokens = tokens / tokens.square().mean(dim=1, keepdim=True).sqrt().clamp_min(_TINY)
        moments.add_(wide(tokens.T @ tokens))

    model.eval()
    with hooked(before=[(reading.norm, see) for reading in readings]):
        for batch in batches_of(rows, batch_size=_TEXTS, pad_token_id=pad_token_id(model)):
            on_device = batch.to(model.device)
            current[:] = [on_device.attention_mask.bool()]
            forward(model, on_device, precision=precision)
    return principal_basis(moments.cpu())


@torch.no_grad()
def divergence_of_tokens(
    model: PreTrainedModel, reference: PreTrainedModel, rows: Rows, *, precision: Precision
) -> float:
    """Return KL(reference || model) of two generators, nats per row summed over its real tokens.

    Both run batch by batch: the logits of all tokens would not fit into memory.
    """
    model.eval()
    reference.eval()
    total = 0.0
    for host_batch in batches_of(rows, batch_size=_TEXTS, pad_token_id=pad_token_id(reference)):
        batch = host_batch.to(reference.device)
        real = batch.attention_mask.bool()
        found, wanted = (
            torch.log_softmax(forward(one, batch, precision=precision)[real], dim=-1) for one in (model, reference)
        )
        total += float(kl_div(found, wanted, log_target=True, reduction="sum"))
    return total / len(rows)


def _largest(values: Tensor, count: int) -> Tensor:
    keep = torch.zeros(len(values), dtype=torch.bool)
    keep[values.argsort(descending=True, stable=True)[:count]] = True
    return keep
