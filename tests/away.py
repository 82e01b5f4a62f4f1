"""A device that is not the CPU, on a machine that has no other: real numbers, and nothing of the CPU may mix with them.

Tensors there say that they are on ``meta``, hold what they would hold on an accelerator, and refuse what CUDA refuses:
an operation between both (indices and single numbers apart), and NumPy. Ask for it by ``away()``.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

AWAY = torch.device("meta")
_MOVES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
_TAKES_INDICES = {
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put.default,
    torch.ops.aten.index_put_.default,
    torch.ops.aten._unsafe_index_put.default,
}


class Away(Tensor):
    """Says that it is elsewhere."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, real: Tensor) -> "Away":
        told = {"strides": real.stride(), "storage_offset": real.storage_offset(), "dtype": real.dtype}
        made = Tensor._make_wrapper_subclass(cls, real.size(), **told, device=AWAY)
        made.held = real
        return made

    def __repr__(self) -> str:
        return f"Away({self.held!r})"

    def tolist(self) -> Any:
        return self.held.tolist()

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], *_: Any) -> "Away":
        return Away(inner["held"])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextmanager
def away() -> Iterator[torch.device]:
    """Let tensors be made there, and moved there, for a while."""
    # Fused steps of an optimiser, and autocast, ask for the name of a device that they know.
    with (
        _Mode(),
        mock.patch("torch.optim.adam._device_dtype_check_for_fused"),
        mock.patch("torch.autocast", _autocast),
    ):
        yield AWAY


_real_autocast = torch.autocast


def _autocast(device_type: str, **options: Any) -> Any:
    return nullcontext() if device_type == AWAY.type else _real_autocast(device_type, **options)


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if any(tensor.device == AWAY and not isinstance(tensor, Away) for tensor in tensors):
        raise RuntimeError(f"{func}: a tensor on {AWAY} has no numbers; index by a tensor instead of a list")
    elsewhere = any(isinstance(tensor, Away) for tensor in tensors)
    device = kwargs.get("device")
    if elsewhere and func not in _MOVES:
        _refuse_mixture(func, args, tensors)
    result = func(
        *tree_map(_real, args), **tree_map(_real, {**kwargs, **({} if device is None else {"device": "cpu"})})
    )
    if device is not None:
        elsewhere = torch.device(device) == AWAY
    if not func._schema.returns:
        return None
    first = func._schema.arguments[0] if func._schema.arguments else None
    if first is not None and first.alias_info is not None and first.alias_info.is_write and args:
        return args[0]  # in place
    return tree_map(lambda leaf: Away(leaf) if isinstance(leaf, Tensor) and elsewhere else leaf, result)


def _refuse_mixture(func: Any, args: Any, tensors: list[Tensor]) -> None:
    looked_at = [args[0]] if func in _TAKES_INDICES else tensors
    here = [tensor for tensor in looked_at if not isinstance(tensor, Away) and tensor.dim() > 0]
    if here:
        raise RuntimeError(f"{func}: a tensor of {tuple(here[0].shape)} is on the CPU, and another one is not")


def _real(leaf: Any) -> Any:
    return leaf.held if isinstance(leaf, Away) else leaf
