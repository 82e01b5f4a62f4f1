"""What is chosen for the whole model at once: which layers stay, and which features of the residual stream."""

import copy
from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.data.tokens import TokenRows
from secateur.models.depth import drop_layers_
from secateur.models.families import family_of
from secateur.models.hidden import cut_hidden_
from secateur.training.batches import Batch, batches_of
from secateur.training.objectives import forward, logits_of, pad_token_id
from secateur.training.progress import progress

_BATCH = 64


def reshape_(
    model: PreTrainedModel,
    rows: TokenRows,
    *,
    num_layers: int | None,
    hidden_size: int | None,
    precision: Precision,
) -> tuple[list[int] | None, Tensor | None]:
    """Bring depth and hidden size to what is asked, in place; nothing happens where that is so already.

    Args:
        model: changed in place.
        rows: calibration rows.
        num_layers: layers that stay; None = all.
        hidden_size: features of the residual stream that stay; None = all.
        precision: arithmetic of the matrix products.

    Returns:
        The layers that were kept and the mask of the features that were, each None when nothing of its kind went.
    """
    family = family_of(model)
    layers, features = None, None
    if num_layers is not None and num_layers < len(family.layers(model)):
        layers = best_layers(model, rows, num_layers=num_layers, precision=precision)
        drop_layers_(model, layers)
    if hidden_size is not None and hidden_size < family.hidden_size(model.config):
        features, of_head = best_features(model, rows, hidden_size=hidden_size, precision=precision)
        cut_hidden_(model, features, keep_head=of_head)
    return layers, features


def best_layers(model: PreTrainedModel, rows: TokenRows, *, num_layers: int, precision: Precision) -> list[int]:
    """Choose the layers that stay, by taking out the one whose loss hurts least, again and again.

    Every candidate is really run: the loss is the divergence from the model's own logits on the rows. For a dozen
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
    expected = logits_of(model, rows, batch_size=_BATCH, precision=precision)

    def divergence(keep: Sequence[int]) -> float:
        candidate = copy.deepcopy(model)
        drop_layers_(candidate, keep)
        return _divergence(logits_of(candidate, rows, batch_size=_BATCH, precision=precision), expected)

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
    model: PreTrainedModel, rows: TokenRows, *, hidden_size: int, precision: Precision
) -> tuple[Tensor, Tensor]:
    """Choose the features of the residual stream that stay: those that are large behind the norms.

    The importance of a feature is the mean of its absolute value over tokens, squared and summed over rows and
    norms (Muralidharan et al. 2024, Minitron, section 2.2: mean over the sequence, L2 over the batch). The features
    between the linears of the head are chosen the same way, by what enters the last one.

    Returns:
        Masks of the stream and of the head, (E,) each, True = keep, with ``hidden_size`` features each.
    """
    family = family_of(model)
    norms = family.stream_norms(model)
    last = [m for part in family.head(model) for m in part.modules() if isinstance(m, nn.Linear)][-1]
    width = family.hidden_size(model.config)
    stream, head = torch.zeros(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
    current: list[Batch] = []

    def see_norm(_: nn.Module, __: object, output: Tensor) -> None:
        real = current[0].attention_mask[..., None]
        means = (output.abs() * real).sum(dim=1) / real.sum(dim=1)
        stream.add_(means.double().square().sum(dim=0).cpu())

    def see_head(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        head.add_(inputs[0].flatten(0, -2).double().square().sum(dim=0).cpu())

    model.eval()
    with ExitStack() as hooks:
        for norm in norms:
            hooks.callback(norm.register_forward_hook(see_norm).remove)
        hooks.callback(last.register_forward_pre_hook(see_head).remove)
        for batch in batches_of(rows, batch_size=_BATCH, pad_token_id=pad_token_id(model)):
            current[:] = [batch.to(model.device)]
            forward(model, current[0], precision=precision)
    return _largest(stream, hidden_size), _largest(head, hidden_size)


def _largest(values: Tensor, count: int) -> Tensor:
    keep = torch.zeros(len(values), dtype=torch.bool)
    keep[values.argsort(descending=True, stable=True)[:count]] = True
    return keep


def _divergence(logits: Tensor, expected: Tensor) -> float:
    """Return KL(expected || logits), nats per row."""
    found, wanted = torch.log_softmax(logits, dim=-1), torch.log_softmax(expected, dim=-1)
    return float(kl_div(found, wanted, log_target=True, reduction="batchmean"))
