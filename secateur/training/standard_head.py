"""The head of a model that tells numbers: as the model is kept it tells those of the rows, and it learns standard ones.

The steps of an optimiser are as large as its rate, whatever the units: a head that tells prices would never arrive, and
one that tells shares would shake. Only the last linear has units, and they are folded into its weight and its bias, so
that every form of a model (PyTorch, ONNX, int8, padded) tells numbers of the rows by itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from secateur.data.units import Units
from secateur.models.heads import last_of_head


def start_in_(model: PreTrainedModel, units: Units | None) -> None:
    """Let a fresh head tell about the mean of the training rows, as one that learns standard numbers starts near 0.

    Changes the model in place; None changes nothing.
    """
    if units is not None:
        _fold_(last_of_head(model), units)


@contextmanager
def standard_head(model: PreTrainedModel, units: Units | None) -> Iterator[None]:
    """Let the weights of a head be those of standard numbers for a while; what the model says stays what it is.

    A head without a bias has no mean to start from, and learns it.

    Args:
        model: changed in place, and changed back.
        units: None where the model tells no numbers.
    """
    if units is None:
        yield
        return
    last = last_of_head(model)
    mean = units.mean if last.bias is not None else 0.0

    def told(_: nn.Module, __: tuple[Tensor], output: Tensor) -> Tensor:
        return output * units.scale + mean

    _unfold_(last, units)
    handle = last.register_forward_hook(told)
    try:
        yield
    finally:
        handle.remove()
        _fold_(last, units)


@torch.no_grad()
def _fold_(linear: nn.Linear, units: Units) -> None:
    linear.weight.mul_(units.scale)
    if linear.bias is not None:
        linear.bias.mul_(units.scale).add_(units.mean)


@torch.no_grad()
def _unfold_(linear: nn.Linear, units: Units) -> None:
    linear.weight.div_(units.scale)
    if linear.bias is not None:
        linear.bias.sub_(units.mean).div_(units.scale)
