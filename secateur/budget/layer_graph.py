"""The ONNX graph of a model of random weights, and which of its nodes belong to which layer.

The exporter tells nothing of layers. So every layer adds numbers of its own to what it reads while it is traced; where
they stand in the graph a layer begins, and then they are taken out again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from transformers import PreTrainedModel

from secateur.errors import ModelError
from secateur.families import family_of
from secateur.formats.tracing import trace, trace_step
from secateur.models.heads import head_of

Array = npt.NDArray[np.generic]

_MARK = "mark_of_the_layer"


@dataclass(frozen=True)
class LayerGraph:
    """A graph, and where its layers are.

    Attributes:
        graph: without constants of nodes: all are initializers.
        streams: names of what the layers read, in their order.
        layer_of: first output of a node -> its layer; what stands before the first one has none, what stands behind the
            last one is told to be part of it.
    """

    graph: onnx.ModelProto
    streams: tuple[str, ...]
    layer_of: dict[str, int]


def trace_layers(model: PreTrainedModel, file: Path) -> LayerGraph:
    """Export a model: of a generator a step with its cache, of others a call.

    Args:
        model: its parameters are told apart by their values, so they are overwritten.
        file: that the exporter may write.

    Raises:
        ModelError: the layers cannot be found in the graph.
    """
    _make_distinct_(model)
    write = trace_step if head_of(model).per_token else trace
    with _marked(model) as marks:
        write(model, file)
    graph = onnx.load(file)
    _lift_constants_(graph.graph)
    return _found(graph, marks)


def _make_distinct_(model: PreTrainedModel) -> None:
    # Equal tensors, such as biases of zero, are exported as one. Activations stay of order 1, so that a slice which
    # computes something else can be told.
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.5, generator=generator)


@contextmanager
def _marked(model: PreTrainedModel) -> Iterator[list[Array]]:
    """Let every layer add a vector to what it reads, for a while."""
    generator = torch.Generator().manual_seed(1)
    blocks, hidden_size = _blocks(model), family_of(model).hidden_size(model.config)
    handles = []
    for block in blocks:
        block.register_parameter(_MARK, nn.Parameter(torch.randn(hidden_size, generator=generator)))
        handles.append(block.register_forward_pre_hook(_mark, with_kwargs=True))
    try:
        yield [block.get_parameter(_MARK).detach().numpy() for block in blocks]
    finally:
        for block, handle in zip(blocks, handles, strict=True):
            handle.remove()
            del block._parameters[_MARK]


def _mark(block: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    mark = block.get_parameter(_MARK)
    if given:
        return (given[0] + mark, *given[1:]), named
    return given, {**named, "hidden_states": named["hidden_states"] + mark}


def _blocks(model: PreTrainedModel) -> list[nn.Module]:
    """Return the module of each layer: the innermost one that holds all of its projections."""
    names = {id(module): name for name, module in model.named_modules()}
    paths = [[names[id(linear)].split(".") for linear in layer.linears()] for layer in family_of(model).layers(model)]
    return [model.get_submodule(".".join(_common(path))) for path in paths]


def _common(paths: list[list[str]]) -> Iterator[str]:
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            return
        yield parts[0]


def _lift_constants_(graph: onnx.GraphProto) -> None:
    """Let constants be initializers, whether a node held them or not."""
    kept = []
    for node in graph.node:
        value = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(value), node.output[0]))
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _found(graph: onnx.ModelProto, marks: list[Array]) -> LayerGraph:
    """Find the marks of the layers in a graph, and take them out of it."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    names = [next((name for name, array in arrays.items() if np.array_equal(array, mark)), None) for mark in marks]
    streams: list[str] = []
    layer_of: dict[str, int] = {}
    instead: dict[str, str] = {}
    kept = []
    for node in graph.graph.node:
        if len(streams) < len(names) and names[len(streams)] in node.input:
            (stream,) = (name for name in node.input if name not in names)
            stream = instead.get(stream, stream)
            instead[node.output[0]] = stream
            streams.append(stream)
            continue
        for place, name in enumerate(node.input):
            node.input[place] = instead.get(name, name)
        if streams:
            layer_of[node.output[0]] = len(streams) - 1
        kept.append(node)
    if len(streams) != len(marks):
        raise ModelError("the layers are not in the exported graph one by one, so the graph cannot be sliced")
    del graph.graph.node[:]
    graph.graph.node.extend(kept)
    return LayerGraph(graph=graph, streams=tuple(streams), layer_of=layer_of)
