"""Embeddings that are moved against the loss while the model recovers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


class Perturbation:
    """The fast gradient method on the word embeddings (Miyato et al. 2017, equation 5).

    ``r = epsilon * g / ||g||_2`` for each row of a batch, where ``g`` is the gradient of the loss with respect to
    what the table of word embeddings returns for the row.

    Differs from the paper in: embeddings are not normalised to unit variance, so epsilon is in their own unit.
    """

    def __init__(self, model: PreTrainedModel, *, epsilon: float) -> None:
        self._table: nn.Module = model.get_input_embeddings()
        self._epsilon = epsilon
        self._embedded: Tensor | None = None

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Remember the embeddings of the forward pass inside, so that ``backward`` leaves their gradient."""

        def record(_: nn.Module, __: Any, output: Tensor) -> Tensor:
            # The output of a frozen table would get no gradient otherwise.
            self._embedded = output if output.requires_grad else output.requires_grad_()
            self._embedded.retain_grad()
            return self._embedded

        with _hooked(self._table, record):
            yield

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Add the perturbation that follows from the recorded gradient to the embeddings of the pass inside."""
        assert self._embedded is not None and self._embedded.grad is not None  # recorded, and gone backward
        shift = fast_gradient(self._embedded.grad, epsilon=self._epsilon)
        self._embedded = None
        with _hooked(self._table, lambda _, __, output: output + shift):
            yield


def fast_gradient(gradient: Tensor, *, epsilon: float) -> Tensor:
    """Return ``epsilon * g / ||g||_2`` for each row of ``g``, (B, T, E); a row without gradient stays put."""
    norm = torch.linalg.vector_norm(gradient, dim=(1, 2), keepdim=True)
    shift: Tensor = epsilon * gradient / norm.clamp_min(torch.finfo(gradient.dtype).tiny)
    return shift


@contextmanager
def _hooked(module: nn.Module, hook: Any) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
