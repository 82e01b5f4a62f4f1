"""How the loss would change without a weight, to first order, and where a zero would grow."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.errors import ModelError
from secateur.pruning.first_order import FirstOrder
from secateur.pruning.weights.matrices import WeightScores, prunable
from secateur.training.batches import Batch
from secateur.training.objectives import summed_loss


def scores(
    model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision, which: FirstOrder
) -> WeightScores:
    """Return the first-order score of every weight; g_b is the gradient of a batch's loss.

    * ``taylor``: |w * sum_b g_b|, the change of the loss without the weight (Molchanov et al. 2017, equation 7);
    * ``snip``: sum_b |w * g_b| (Lee et al. 2019, equation 5, without its normalisation over the model).

    Args:
        model: scored in evaluation mode; its gradients are left as they were.
        batches: calibration rows with labels.
        precision: arithmetic of the matrix products.
        which: of the two scores.
    """
    weights = {name: linear.weight for name, linear in prunable(model).items()}
    totals = {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in weights.items()}
    num_rows = 0
    for gradients, count in batch_gradients(model, batches, precision=precision):
        for name, gradient in gradients.items():
            change = weights[name].detach() * gradient
            totals[name] += change.abs() if which == "snip" else change
        num_rows += count
    return {name: (total / max(num_rows, 1)).abs() for name, total in totals.items()}


def sizes(model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision) -> WeightScores:
    """Return |dL/dw| of the mean loss over all rows: where a zero would grow fastest."""
    totals: dict[str, Tensor] = {}
    for gradients, _ in batch_gradients(model, batches, precision=precision):
        totals = {name: totals.get(name, 0.0) + gradient for name, gradient in gradients.items()}
    return {name: total.abs() for name, total in totals.items()}


def batch_gradients(
    model: PreTrainedModel, batches: Iterable[Batch], *, precision: Precision
) -> Iterator[tuple[dict[str, Tensor], int]]:
    """Yield the gradient of every prunable matrix, of the loss summed over a batch's rows, and their number.

    Raises:
        ModelError: a gradient is not finite; the matrix is named.
    """
    linears = prunable(model)
    model.eval()
    with _only(model, tuple(linears.values())):
        for batch in (host_batch.to(model.device) for host_batch in batches):
            loss = summed_loss(model, batch, precision=precision)
            gradients = torch.autograd.grad(loss, [linear.weight for linear in linears.values()])
            named = dict(zip(linears, gradients, strict=True))
            for name, gradient in named.items():
                if not bool(gradient.isfinite().all()):
                    raise ModelError(
                        f"the gradient of {name} is not finite on the calibration rows; "
                        "check the checkpoint for NaN weights, or score by magnitude, which needs no gradient"
                    )
            yield named, len(batch.labels)


@contextmanager
def _only(model: PreTrainedModel, linears: tuple[nn.Linear, ...]) -> Iterator[None]:
    """Record a graph for these weights alone."""
    flags = [parameter.requires_grad for parameter in model.parameters()]
    model.requires_grad_(False)
    for linear in linears:
        linear.weight.requires_grad_(True)
    try:
        yield
    finally:
        for parameter, flag in zip(model.parameters(), flags, strict=True):
            parameter.requires_grad_(flag)
