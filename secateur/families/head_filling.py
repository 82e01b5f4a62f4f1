"""Heads of architectures that divide the hidden size evenly among them."""

from secateur.errors import ModelError
from secateur.families.structures import Widths


def filling_heads(dense: Widths, *, hidden_size: int, at_least: int) -> tuple[int, int]:
    """Return number and features of heads that fill the hidden size: the dense ones where they do.

    Args:
        dense: the dense widths.
        hidden_size: as it is now.
        at_least: heads that must find a place.

    Raises:
        ModelError: the hidden size cannot be divided into as many heads of at least as many features.
    """
    if dense.heads[0] * dense.head_dim == hidden_size:
        return dense.heads[0], dense.head_dim
    for num_heads in range(hidden_size // dense.head_dim, at_least - 1, -1):
        if hidden_size % num_heads == 0:
            return num_heads, hidden_size // num_heads
    raise ModelError(
        f"plain transformers divides the hidden size of {hidden_size} evenly among the heads, found {at_least} heads "
        f"of {dense.head_dim}; a hidden size that is a multiple of {at_least * dense.head_dim} would work"
    )
