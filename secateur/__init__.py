"""Prune language models inside a workflow that can be scheduled, reproduced and trusted."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

__version__ = "0.3.0"
__all__ = ["__version__", "load"]


def load(path: "str | Path", *, verify: bool = True) -> "PreTrainedModel":
    """Load a checkpoint folder as an ordinary transformers model; see ``models.checkpoint.load``.

    torch and transformers are imported here, so ``import secateur`` stays cheap.
    """
    from secateur.models.checkpoint import load as load_checkpoint

    return load_checkpoint(path, verify=verify)
