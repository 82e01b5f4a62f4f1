"""Prune language models inside a workflow that can be scheduled, reproduced and trusted."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secateur.api import *  # noqa: F403


# This file is part of every stage's code, and what it imports would be, too: what Python programs call is found by the
# name of its module, and stands there with ``__all__``.
def __getattr__(name: str) -> Any:
    if name == "__version__":
        # Not a number here: another version is no other code.
        from importlib.metadata import version

        return version("secateur")
    api = import_module("secateur.api")
    if name == "__all__":
        return api.__all__
    if name not in api.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})
