"""Linears around existing tensors."""

import torch
from torch import nn


def linear_from(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    """Build a linear around existing tensors; no initial weights are drawn, the generator stays as it is.

    Either dimension may be 0.
    """
    # Made with one weight: torch warns when it initialises a matrix without any.
    linear = nn.Linear(1, 1, bias=bias is not None, device="meta")
    linear.out_features, linear.in_features = weight.shape
    linear.weight = nn.Parameter(weight)
    if bias is not None:
        linear.bias = nn.Parameter(bias)
    return linear
