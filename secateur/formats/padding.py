"""Linear layers and attention filled up with zeros."""

from dataclasses import replace

import torch
from torch import nn

from secateur.families.linears import linear_from
from secateur.families.structures import Attention


def pad_attention(attention: Attention, num_heads: int, head_dim: int) -> Attention:
    """Return an attention of so many heads, the added ones of zeros."""
    if head_dim != attention.head_dim:
        attention = pad_features(attention, head_dim)
    features, keys = num_heads * attention.unit_size, num_heads * attention.head_dim
    return replace(
        attention,
        query=pad_rows(attention.query, features),
        key=pad_rows(attention.key, keys),
        value=pad_rows(attention.value, keys),
        output=pad_columns(attention.output, features),
    )


def pad_features(attention: Attention, head_dim: int) -> Attention:
    """Give every head more features, all zero; the larger queries make up for the smaller ``head_dim ** -0.5``.

    Architectures that need it know no grouped queries.
    """
    count, old = attention.num_heads, attention.head_dim
    rows = (torch.arange(count)[:, None] * head_dim + torch.arange(old)).reshape(-1)

    def spread(linear: nn.Linear, factor: float = 1.0) -> nn.Linear:
        weight = linear.weight.new_zeros(count * head_dim, linear.in_features)
        weight[rows] = linear.weight.detach() * factor
        bias = None
        if linear.bias is not None:
            bias = linear.bias.new_zeros(count * head_dim)
            bias[rows] = linear.bias.detach() * factor
        return linear_from(weight, bias)

    weight = attention.output.weight.new_zeros(attention.output.out_features, count * head_dim)
    weight[:, rows] = attention.output.weight.detach()
    output = linear_from(weight, None if attention.output.bias is None else attention.output.bias.detach())
    query = spread(attention.query, (head_dim / old) ** 0.5)
    return Attention(query, spread(attention.key), spread(attention.value), output, head_dim=head_dim)


def pad_rows(linear: nn.Linear, rows: int) -> nn.Linear:
    """Return a linear layer with so many outputs, the added ones always 0."""
    weight = linear.weight.detach()
    padded = weight.new_zeros(rows, weight.shape[1])
    padded[: weight.shape[0]] = weight
    return linear_from(padded, None if linear.bias is None else _pad_vector(linear.bias.detach(), rows))


def _pad_vector(vector: torch.Tensor, size: int) -> torch.Tensor:
    padded = vector.new_zeros(size)
    padded[: len(vector)] = vector
    return padded


def pad_vectors(rows: torch.Tensor, size: int) -> torch.Tensor:
    """Return rows with so many columns, the added ones of zeros."""
    padded = rows.new_zeros(rows.shape[0], size)
    padded[:, : rows.shape[1]] = rows
    return padded


def pad_columns(linear: nn.Linear, columns: int) -> nn.Linear:
    """Return a linear layer that reads so many inputs and gives the added ones no weight."""
    padded = pad_vectors(linear.weight.detach(), columns)
    return linear_from(padded, None if linear.bias is None else linear.bias.detach())
