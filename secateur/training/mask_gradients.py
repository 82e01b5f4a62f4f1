"""Derivatives of the loss by masks on structures: what the first-order criteria and regrowth are made of."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn
from transformers import PreTrainedModel

from secateur.families import family_of
from secateur.models.hooks import hooked


def mask_gradients(output: Tensor, gradient: Tensor, *, unit_size: int) -> Tensor:
    """Return dL/dm of every unit and piece, (W, U), from outputs and their gradients, (W, T, U * unit_size)."""
    per_feature = (output.detach().float() * gradient.float()).sum(dim=1)
    return per_feature.view(len(per_feature), per_feature.shape[1] // unit_size, unit_size).sum(dim=2)


@contextmanager
def inputs_of(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect what each of the modules is given in a forward pass; the list is full after each pass.

    The input of an output or down projection is what the heads or neurons of its layer put out. The caller clears
    the list when a pass is done with.
    """
    inputs: list[Tensor] = []
    collected: dict[int, Tensor] = {}

    def remember(place: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            collected[place] = given[0]
            if len(collected) == len(modules):
                inputs[:] = [collected[number] for number in range(len(modules))]
                collected.clear()

        return hook

    with hooked(before=((module, remember(place)) for place, module in enumerate(modules))):
        yield inputs


@contextmanager
def graph_from_embeddings(model: PreTrainedModel) -> Iterator[None]:
    """Record the graph of activations only: gradients of weights are not needed, and cost a third of the time."""
    flags = [parameter.requires_grad for parameter in model.parameters()]
    embeddings = family_of(model).embeddings(model)
    model.requires_grad_(False)

    def begin(_: nn.Module, __: object, output: Tensor) -> Tensor:
        return output.requires_grad_(True)

    try:
        with hooked(after=[(embeddings, begin)]):
            yield
    finally:
        for parameter, flag in zip(model.parameters(), flags, strict=True):
            parameter.requires_grad_(flag)


@contextmanager
def graph_of(model: PreTrainedModel, parameters: Sequence[Tensor]) -> Iterator[None]:
    """Record gradients of these parameters and of no others; all flags are put back afterwards."""
    flags = [parameter.requires_grad for parameter in model.parameters()]
    model.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter, flag in zip(model.parameters(), flags, strict=True):
            parameter.requires_grad_(flag)
