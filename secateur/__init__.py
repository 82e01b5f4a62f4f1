"""Prune language models inside a workflow that can be scheduled, reproduced and trusted."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> str:
    # Not a number here: this file is part of every stage's code, and another version is no other code.
    if name == "__version__":
        from importlib.metadata import version

        return version("secateur")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load(path: "str | Path", *, verify: bool = True) -> "PreTrainedModel":
    """Load a checkpoint folder as an ordinary transformers model; see ``models.checkpoint.load``.

    torch and transformers are imported here, so ``import secateur`` stays cheap.
    """
    from secateur.models.checkpoint import load as load_checkpoint

    return load_checkpoint(path, verify=verify)
