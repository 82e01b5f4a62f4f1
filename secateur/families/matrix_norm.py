"""A norm whose gain is a matrix: what a head that is the token embeddings needs once the residual stream is rotated."""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


@final
class MatrixNorm(nn.Module):
    """Divides by the root mean square, as an RMS norm does, and multiplies by a matrix.

    It stands where the gain stood and under its name, so a reader that knows vectors alone refuses the shape.
    """

    def __init__(self, gain: Tensor, *, epsilon: float) -> None:
        """Take the gain, (E,), whose diagonal matrix the weight is at first, (E, E); both in its type."""
        super().__init__()
        self.weight = nn.Parameter(torch.diag(gain.detach()))
        self.epsilon = epsilon

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return what the head reads: (..., E) to (..., E)."""
        wide = hidden_states.float()
        normed = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + self.epsilon)
        return linear(normed.to(hidden_states.dtype), self.weight)
