"""Weights of 16 bits that stay so in memory while everything is computed in fp32, as if they were wider."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.functional import embedding, linear
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

SMALL = (torch.bfloat16, torch.float16)
"""Types that are for keeping, not for computing."""


def at_rest(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy whose linears and token embeddings are those of the model, and whose other weights are in fp32.

    It is to be computed with inside ``computing_in_fp32``; then every bit is that of ``model.float()``.
    """
    large = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    stay = {id(weight) for weight in (*large, model.get_input_embeddings().weight)}
    twins = {
        id(own): nn.Parameter(own.detach() if id(own) in stay else own.detach().float(), requires_grad=False)
        for own in model.parameters()
    }
    return copy.deepcopy(model, twins)


@contextmanager
def computing_in_fp32() -> Iterator[None]:
    """Let linears and embeddings whose weights have 16 bits give what the same weights in fp32 would, for a while."""
    with _Widening():
        yield


class _Widening(TorchFunctionMode):
    """Widens a weight when it is used, and forgets it; under autocast the weights of linears are as they should be."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func is embedding:
            found = func(*args, **named)
            return found.float() if found.dtype in SMALL else found
        if func is linear and args[1].dtype in SMALL and not torch.is_autocast_enabled(args[0].device.type):
            inputs, weight, *others = args
            return func(inputs, weight.float(), *others, **named)
        return func(*args, **named)
