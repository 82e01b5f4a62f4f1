"""Functions that see what goes through single modules, for as long as a block lasts."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

Before = tuple[nn.Module, Callable[[nn.Module, Any], Any]]
"""A module, and what is called with its arguments before it runs."""

After = tuple[nn.Module, Callable[[nn.Module, Any, Any], Any]]
"""A module, and what is called with its arguments and its output."""


@contextmanager
def hooked(*, before: Iterable[Before] = (), after: Iterable[After] = ()) -> Iterator[None]:
    """Have these functions called in every forward pass of the block; they are gone after it, however it ends."""
    with ExitStack() as hooks:
        for module, hook in before:
            hooks.callback(module.register_forward_pre_hook(hook).remove)
        for module, sees in after:
            hooks.callback(module.register_forward_hook(sees).remove)
        yield
