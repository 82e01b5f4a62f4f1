"""Gradients inside a model that is too large for the graph of a whole pass: one layer after the other.

What passes between the layers waits in temporary files, so memory is that of one layer at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from shutil import disk_usage
from tempfile import gettempdir
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from secateur.config.run import Precision
from secateur.errors import ProjectError
from secateur.families import family_of
from secateur.models.heads import head_of
from secateur.progress import PATIENCE_S, progress
from secateur.second_order.blocks import Block, blocks_of
from secateur.second_order.residual_stream import (
    Spool,
    called,
    calls,
    calls_of,
    enter,
    layer_modules,
    standing_in,
    through,
)
from secateur.second_order.taps import tapped
from secateur.training.batches import Batch
from secateur.training.mask_gradients import graph_of
from secateur.training.own_batches import OwnBatch

LARGE_BYTES = 512 * 1024**2
"""Of the moments of all blocks together, from which on a model goes layer by layer: MiniLM-L12 has 268 MB, BERT-base
1.1 GB. What decides is the model and never the memory that is free; the bits are the same anyway."""

_MOST_LOGITS = 2**24
"""That are there at once, 67 MB of fp32 and a few times as much beside them: a row of 110 tokens of Qwen2's words."""

Loss = Callable[[PreTrainedModel, Batch], Tensor]
"""Runs a model on rows and returns a scalar, the sum of what every row adds to it."""


@dataclass(frozen=True)
class Seen:
    """One batch in one layer.

    Attributes:
        batch: on the device of the model.
        inputs: (B, T, inputs) of the projections of the blocks that are there, attention first.
        gradients: of the loss by these inputs, or by the outputs of the projections.
    """

    batch: Batch
    inputs: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]


def is_large(model: PreTrainedModel) -> bool:
    """Say whether a model goes layer by layer."""
    return moment_bytes(model) >= LARGE_BYTES


def moment_bytes(model: PreTrainedModel) -> int:
    """Return what the moments of all blocks take."""
    sizes = ((block.projection.in_features + 1, block.projection.out_features) for block in blocks_of(model))
    return sum(8 * (inputs**2 + outputs**2) for inputs, outputs in sizes)


def blocks_there(model: PreTrainedModel, layer: int) -> list[tuple[int, Block]]:
    """Return the blocks of a layer that have units, with their places among all blocks."""
    blocks = blocks_of(model)
    places = (layer, layer + len(blocks) // 2)
    return [(place, blocks[place]) for place in places if blocks[place].num_units > 0]


def gradients_by_layer(
    model: PreTrainedModel,
    batches: Sequence[Batch],
    *,
    loss: Loss,
    at: Literal["inputs", "outputs"],
    precision: Precision,
    title: str = "layers",
    beside: int = 0,
) -> Iterator[tuple[int, Iterator[Seen]]]:
    """Yield the layers from the last to the first, and every batch in each; the bits are those of a whole pass.

    A layer runs twice, once to get to the end and once, with its graph, on the way back. Logits of generators with many
    words are taken bit by bit, which changes the last digits of their gradients.

    Args:
        model: in evaluation mode; its weights and flags are as they were when the last layer is done with.
        batches: on the CPU.
        loss: called for one batch after the other, in their order.
        at: whether gradients are by the inputs of the projections or by their outputs.
        precision: arithmetic of the passes.
        title: of the bar; none where somebody else shows one.
        beside: bytes that others will write to temporary files meanwhile.

    Raises:
        ProjectError: there is no room for the temporary files; nothing is computed.
    """
    _require_space(model, batches, beside=beside)
    num_layers = len(layer_modules(model))
    with ExitStack() as stack:
        stack.enter_context(graph_of(model, ()))
        states = [stack.enter_context(Spool(widened=False)) for _ in range(num_layers)]
        above = stack.enter_context(Spool(widened=False))
        with progress("calibration", total=len(batches), after_s=PATIENCE_S) as advance:
            for batch in batches:
                on_device = batch.to(model.device)
                output = _forward(model, on_device, states, precision=precision)
                above.append(_slope(model, output, on_device, loss=loss))
                advance()
        bar = stack.enter_context(progress(title, total=num_layers, after_s=PATIENCE_S)) if title else None
        for layer in reversed(range(num_layers)):
            below, given = stack.enter_context(Spool(widened=False)), states.pop()
            yield layer, _backward(model, batches, layer, given, above, below, at=at, precision=precision)
            given.close()
            above.close()
            above = below
            if bar is not None:
                bar()


def _require_space(model: PreTrainedModel, batches: Sequence[Batch], *, beside: int) -> None:
    """Refuse what temporary files have no room for: hidden states of every layer, and the gradients at two of them."""
    width = family_of(model).hidden_size(model.config)
    waiting = sum(batch.input_ids.numel() for batch in batches) * width * 4 * (len(layer_modules(model)) + 2)
    folder = gettempdir()
    free, needed = disk_usage(folder).free, waiting + beside
    if needed > free:
        raise ProjectError(
            f"{folder} has {free / 1e9:.1f} GB left, and what waits there of a model of this size takes "
            f"{needed / 1e9:.1f} GB; a folder with more (TMPDIR), or fewer prune.calibration_rows, would work"
        )


def _forward(model: PreTrainedModel, batch: Batch, states: Sequence[Spool], *, precision: Precision) -> Any:
    """Write down what every layer is given, and return what the last one returns."""
    hidden, _ = enter(model, batch, precision=precision)
    output: Any = hidden
    steps = zip(layer_modules(model), calls_of(model, batch, precision=precision), states, strict=True)
    for layer, call, spool in steps:
        spool.append(hidden)
        with torch.enable_grad():  # kernels may depend on whether there will be a gradient, as on the way back
            output = called(layer, hidden.requires_grad_(True), call, precision=precision)
        hidden = (output[0] if isinstance(output, tuple) else output).detach()
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden


def _slope(model: PreTrainedModel, output: Any, batch: Batch, *, loss: Loss) -> Tensor:
    """Return the gradient of the loss by what the last layer returns."""
    whole = output[0] if isinstance(output, tuple) else output
    slope = torch.zeros_like(whole)
    for rows, tokens in _bits(model, batch):
        hidden = whole[rows, tokens].detach().requires_grad_(True)
        standing = (hidden, *(None for _ in output[1:])) if isinstance(output, tuple) else hidden
        with torch.enable_grad(), standing_in(model, standing):
            value = loss(model, _bit(batch, rows, tokens))
        slope[rows, tokens] = torch.autograd.grad(value, hidden)[0]
    return slope


def _bits(model: PreTrainedModel, batch: Batch) -> Iterator[tuple[slice, slice]]:
    """Yield rows and tokens whose logits are there together: all of them, a few rows, or a part of one row."""
    (num_rows, length), outputs = batch.input_ids.shape, model.config.vocab_size
    splits = head_of(model).per_token and not isinstance(batch, OwnBatch)
    if not splits or num_rows * length * outputs <= _MOST_LOGITS:
        yield slice(None), slice(None)
        return
    rows, tokens = max(_MOST_LOGITS // (length * outputs), 1), min(max(_MOST_LOGITS // outputs, 1), length)
    for row in range(0, num_rows, rows):
        for token in range(0, length, tokens):
            yield slice(row, row + rows), slice(token, token + tokens)


def _bit(batch: Batch, rows: slice, tokens: slice) -> Batch:
    if rows == slice(None):
        return batch
    return replace(
        batch,
        input_ids=batch.input_ids[rows, tokens],
        attention_mask=batch.attention_mask[rows, tokens],
        labels=batch.labels[rows, tokens],
        index=batch.index[rows],
        types=None if batch.types is None else batch.types[rows, tokens],
    )


def _backward(
    model: PreTrainedModel,
    batches: Sequence[Batch],
    layer: int,
    states: Spool,
    above: Spool,
    below: Spool,
    *,
    at: Literal["inputs", "outputs"],
    precision: Precision,
) -> Iterator[Seen]:
    """Yield what went through a layer, and write down the gradients at what it was given."""
    module, there = layer_modules(model)[layer], [block.projection for _, block in blocks_there(model, layer)]
    given = zip(calls(model, lambda: batches, layer=layer, precision=precision), states, above, strict=True)
    for (batch, call), hidden, slope in given:
        entering = hidden.to(model.device).requires_grad_(True)
        with torch.enable_grad(), tapped(there) as taps:
            output = through(module, entering, call, precision=precision)
            points = [tap.inputs if at == "inputs" else tap.outputs for tap in taps]
        *gradients, back = torch.autograd.grad(output, [*points, entering], grad_outputs=slope.to(output))
        below.append(back)
        yield Seen(batch, tuple(tap.inputs.detach() for tap in taps), tuple(gradients))
