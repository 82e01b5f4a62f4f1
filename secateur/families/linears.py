"""Linears around existing tensors."""

import torch
from torch import nn
from transformers import PreTrainedModel


def convert_(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """Give the parameters of a model another type, in place, as a file keeps them; return the model.

    Buffers, which no file holds, stay as they are: rotary frequencies of fewer bits would be others.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model


class EmptyLinear(nn.Linear):
    """A linear without any weight: of a block that has lost its heads or neurons.

    A type of its own, because torch.ao finds what it quantises by the type, and there is nothing to quantise here: it
    divides by the range of no values, and fails or puts out noise.
    """


def linear_from(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    """Build a linear around existing tensors; no initial weights are drawn, the generator stays as it is.

    Either dimension may be 0.
    """
    # Made with one weight: torch warns when it initialises a matrix without any.
    kind = nn.Linear if weight.numel() else EmptyLinear
    linear = kind(1, 1, bias=bias is not None, device="meta")
    linear.out_features, linear.in_features = weight.shape
    linear.weight = nn.Parameter(weight)
    if bias is not None:
        linear.bias = nn.Parameter(bias)
    return linear
