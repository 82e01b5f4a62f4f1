"""Cutting structures out of a model, and the masked model that a cut must agree with."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import compress

import torch
from torch import nn
from transformers import PreTrainedModel

from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.linears import linear_from
from secateur.families.structures import Attention, Ffn, Masks, Widths


def widths_of(model: PreTrainedModel) -> Widths:
    """Read the widths from the shapes of the weights."""
    layers = family_of(model).layers(model)
    return Widths(
        heads=tuple(layer.attention.num_heads for layer in layers),
        ffn=tuple(layer.ffn.width for layer in layers),
        head_dim=layers[0].attention.head_dim if layers else 0,
    )


def cut_(model: PreTrainedModel, masks: Masks) -> None:
    """Remove the masked heads and neurons for good, and record the new widths in the config.

    A head takes its rows of query, key and value (with biases) and its columns of the output projection with
    it; a neuron its row of every up projection (with bias) and its column of the down projection. The order of
    what stays is kept. A block that loses everything keeps the bias of its output, and the norm behind it.
    Optimisers built before the call hold the old parameters.

    Args:
        model: changed in place.
        masks: sized for the model's current widths.

    Raises:
        ModelError: the masks have other sizes than the model, or leave it without any head and any neuron.
    """
    family = family_of(model)
    layers = list(family.layers(model))
    head_dim = layers[0].attention.head_dim
    _check_sizes_match(masks, widths_of(model))
    _check_something_stays(masks)
    for index, (heads, ffn) in enumerate(zip(masks.heads, masks.ffn, strict=True)):
        layer = layers.pop(0)  # nothing keeps what was cut: of a large model there is one layer twice
        if not bool(heads.all()):
            family.replace_attention_(model, index, _narrow_attention(layer.attention, heads))
        if not bool(ffn.all()):
            family.replace_ffn_(model, index, _narrow_ffn(layer.ffn, ffn))
    family.write_widths_(model.config, masks.widths(head_dim))


@contextmanager
def masked(model: PreTrainedModel, masks: Masks) -> Iterator[PreTrainedModel]:
    """Silence the masked heads and neurons for a while; the reference for what ``cut_`` does.

    The input of every attention output projection and of every FFN down projection is multiplied by its mask.
    Weights and config stay untouched.

    Raises:
        ModelError: the masks have other sizes than the model.
    """
    layers = family_of(model).layers(model)
    _check_sizes_match(masks, widths_of(model))
    with ExitStack() as hooks:
        for layer, heads, ffn in zip(layers, masks.heads, masks.ffn, strict=True):
            features = heads.repeat_interleave(layer.attention.unit_size)
            hooks.callback(_multiply_input(layer.attention.output, features))
            hooks.callback(_multiply_input(layer.ffn.down, ffn))
        yield model


def _narrow_attention(attention: Attention, heads: torch.Tensor) -> Attention:
    features, keys = (heads.repeat_interleave(size) for size in (attention.unit_size, attention.head_dim))
    numbers = attention.numbers
    return replace(
        attention,
        query=keep_rows(attention.query, features),
        key=keep_rows(attention.key, keys),
        value=keep_rows(attention.value, keys),
        output=keep_columns(attention.output, features),
        numbers=None if numbers is None else tuple(compress(numbers, heads.tolist())),
    )


def _narrow_ffn(ffn: Ffn, neurons: torch.Tensor) -> Ffn:
    return Ffn(up=tuple(keep_rows(up, neurons) for up in ffn.up), down=keep_columns(ffn.down, neurons))


def keep_rows(linear: nn.Linear, keep: torch.Tensor) -> nn.Linear:
    """Return a linear with some of the output features; ``keep`` is ``(out,)``, True = keep."""
    keep = keep.to(linear.weight.device)
    bias = None if linear.bias is None else linear.bias.detach()[keep]
    return linear_from(linear.weight.detach()[keep], bias)


def keep_columns(linear: nn.Linear, keep: torch.Tensor) -> nn.Linear:
    """Return a linear with some of the input features; ``keep`` is ``(in,)``, True = keep."""
    keep = keep.to(linear.weight.device)
    bias = None if linear.bias is None else linear.bias.detach().clone()
    return linear_from(linear.weight.detach()[:, keep].contiguous(), bias)


def _multiply_input(module: nn.Module, mask: torch.Tensor) -> Callable[[], None]:
    def multiply(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        first, *rest = inputs
        return (first * mask.to(device=first.device, dtype=first.dtype), *rest)

    return module.register_forward_pre_hook(multiply).remove


def _check_sizes_match(masks: Masks, widths: Widths) -> None:
    for what, vectors, expected in (("heads", masks.heads, widths.heads), ("neurons", masks.ffn, widths.ffn)):
        sizes = [len(vector) for vector in vectors]
        if sizes != list(expected):
            raise ModelError(f"masks for {what} per layer {sizes} do not fit a model with {list(expected)}")


def _check_something_stays(masks: Masks) -> None:
    if not any(bool(vector.any()) for vector in (*masks.heads, *masks.ffn)):
        raise ModelError(
            f"the masks leave none of the heads and neurons of {len(masks.heads)} layers; keep at least one"
        )
