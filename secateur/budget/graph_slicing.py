"""ONNX graphs of narrower models, cut out of the graph of one dense model of random weights.

An export takes seconds, a slice milliseconds. Only the speed of what comes out means anything.
"""

import copy
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from transformers import PreTrainedModel

from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.structures import Widths
from secateur.formats.onnx import ONNX_MODEL, quantize_, trace

_Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class _Projection:
    """Where one linear stands in the graph.

    Attributes:
        weight: name of the initialiser.
        transposed: the initialiser is (in, out).
        bias: name of its bias, if it has one.
    """

    weight: str
    transposed: bool
    bias: str | None


@dataclass(frozen=True)
class _Layer:
    """The projections of one layer: what loses rows and what loses columns."""

    attention_rows: tuple[_Projection, ...]
    attention_columns: _Projection
    ffn_rows: tuple[_Projection, ...]
    ffn_columns: _Projection


_NOTHING = "nothing_of_a_block"
"""What a block without units and without a bias leaves behind."""

_FROM_TABLE = ("Transpose", "Unsqueeze", "Expand", "Slice", "DequantizeLinear", "Cast", "Mul")
"""What stands between a table and the scores that it is added to, in fp32 and in int8."""


class DenseGraph:
    """The graph of a dense model, from which graphs of other widths are cut."""

    def __init__(self, model: PreTrainedModel, *, int8: bool) -> None:
        """Export a model; its parameters are overwritten, so that each can be told from all others.

        Args:
            model: dense, of a supported family.
            int8: quantise as the deployed form is.

        Raises:
            ModelError: a projection cannot be found in the exported graph.
        """
        model.set_attn_implementation("eager")  # as deployed graphs are exported
        _make_distinct_(model)
        dense = family_of(model).dense_widths(model.config)
        self._head_dim, self._dense_heads = dense.head_dim, dense.heads[0]
        self._hidden_size = family_of(model).hidden_size(model.config)
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / ONNX_MODEL
            trace(model, file)
            graph = onnx.load(file)
            self._layers = _locate(model, graph)
            table = _name_of_table(model, graph)
            if int8:
                # The suffix of the quantised weight is all that changes in the names.
                quantize_(graph, file)
                graph = onnx.load(file)
        self._arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
        self._suffix = "_quantized" if int8 else ""
        self._scores = [] if table is None else _added_to(graph, table + self._suffix)
        if table is not None and len(self._scores) != len(self._layers):
            raise ModelError("the table of heads is not read once per layer, so the graph cannot be sliced")
        self._graph = graph
        del self._graph.graph.initializer[:]

    def slice(self, widths: Widths) -> onnx.ModelProto:
        """Return the graph of a model with these widths; fewer layers than the dense model has are the last ones.

        A block of width 0 leaves its bias behind, as a cut does.
        """
        model = copy.deepcopy(self._graph)
        arrays = dict(self._arrays)
        layers = self._layers[len(self._layers) - widths.num_layers :]
        replaced = {self._stream_before(layers[0]): self._stream_before(self._layers[0])}
        for layer, heads, neurons in zip(layers, widths.heads, widths.ffn, strict=True):
            for rows, columns, width in (
                (layer.attention_rows, layer.attention_columns, heads * self._head_dim),
                (layer.ffn_rows, layer.ffn_columns, neurons),
            ):
                if width == 0:
                    replaced[self._output_of(columns)] = columns.bias or _NOTHING
                    arrays[_NOTHING] = np.zeros(self._hidden_size, dtype=np.float32)
                    continue
                for projection in rows:
                    self._narrow_(arrays, projection, rows=width)
                self._narrow_(arrays, columns, columns=width)
        for scores, heads in zip(self._scores[-widths.num_layers :], widths.heads, strict=False):
            if 0 < heads < self._dense_heads:
                _read_columns_(model.graph, arrays, scores, heads=heads)
        _rewire_(model.graph, replaced)
        _drop_unused_(model.graph)
        used = {name for node in model.graph.node for name in node.input}
        model.graph.initializer.extend(
            numpy_helper.from_array(array, name) for name, array in arrays.items() if name in used
        )
        return model

    def _narrow_(
        self, arrays: dict[str, _Array], projection: _Projection, *, rows: int | None = None, columns: int | None = None
    ) -> None:
        name = projection.weight + self._suffix
        array = arrays[name]
        narrow = array[:columns, :rows] if projection.transposed else array[:rows, :columns]
        arrays[name] = np.ascontiguousarray(narrow)
        if rows is None:
            return
        # In int8 every output feature has a scale of its own.
        for part in (projection.bias, f"{projection.weight}_scale", f"{projection.weight}_zero_point"):
            if part is not None and part in arrays:
                arrays[part] = arrays[part][:rows]

    def _stream_before(self, layer: _Layer) -> str:
        """Return the residual stream in front of a layer: what its attention is added to."""
        added = self._output_of(layer.attention_columns)
        (node,) = self._readers(added)
        (stream,) = (str(name) for name in node.input if name != added)
        return stream

    def _output_of(self, projection: _Projection) -> str:
        """Return what a projection puts out, with its bias if it has one."""
        if projection.bias is not None:
            (node,) = self._readers(projection.bias)
            return str(node.output[0])
        (node,) = self._readers(projection.weight + self._suffix)
        while True:  # in int8 it is scaled behind the product
            (after,) = self._readers(str(node.output[0]))
            if after.op_type not in ("Cast", "Mul"):
                return str(node.output[0])
            node = after

    def _readers(self, name: str) -> list[onnx.NodeProto]:
        return [node for node in self._graph.graph.node if name in node.input]


def _make_distinct_(model: PreTrainedModel) -> None:
    # Equal tensors, such as biases of zero, are exported as one.
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.02, generator=generator)


def _locate(model: PreTrainedModel, graph: onnx.ModelProto) -> tuple[_Layer, ...]:
    """Find every projection by the values of its tensors: the exporter renames and transposes them."""
    arrays = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) in (1, 2)
    }
    names = {(array.ndim, float(array.flat[0])): name for name, array in arrays.items() if array.size > 1}

    def find(linear: nn.Linear) -> _Projection:
        weight = linear.weight.detach().numpy()
        # torch declares a bias that may be None as one that is there.
        bias = cast("torch.Tensor | None", linear.bias)
        try:
            name = names[2, float(weight.flat[0])]
            bias_name = None if bias is None else names[1, float(bias.detach()[0])]
        except KeyError as error:
            raise ModelError("a projection is not in the exported graph, so the graph cannot be sliced") from error
        return _Projection(name, transposed=not np.array_equal(arrays[name], weight), bias=bias_name)

    return tuple(
        _Layer(
            attention_rows=(find(layer.attention.query), find(layer.attention.key), find(layer.attention.value)),
            attention_columns=find(layer.attention.output),
            ffn_rows=tuple(find(up) for up in layer.ffn.up),
            ffn_columns=find(layer.ffn.down),
        )
        for layer in family_of(model).layers(model)
    )


def _name_of_table(model: PreTrainedModel, graph: onnx.ModelProto) -> str | None:
    """Return the initialiser of the table that all layers share, if there is one."""
    table = family_of(model).head_table(model)
    if table is None:
        return None
    values = table.weight.detach().numpy()
    found = (tensor for tensor in graph.graph.initializer if tuple(tensor.dims) == values.shape)
    return next(str(tensor.name) for tensor in found if np.array_equal(numpy_helper.to_array(tensor), values))


def _added_to(graph: onnx.ModelProto, table: str) -> list[tuple[str, str]]:
    """Return what is read of a table, and the sum that it goes into, for each layer in their order."""
    values, found = {table}, []
    for node in graph.graph.node:
        read = [name for name in node.input if name in values]
        if read and node.op_type == "Add":
            found.append((read[0], str(node.output[0])))
        elif read and node.op_type in ("Gather", *_FROM_TABLE):
            values.add(str(node.output[0]))
    return found


def _read_columns_(graph: onnx.GraphProto, arrays: dict[str, _Array], scores: tuple[str, str], *, heads: int) -> None:
    """Let a layer read the columns of its first heads, as an export of a cut model does."""
    values, total = scores
    place, node = next((place, node) for place, node in enumerate(graph.node) if total in node.output)
    numbers, chosen = f"{total}_heads", f"{total}_columns"
    arrays[numbers] = np.arange(heads, dtype=np.int64)
    node.input[list(node.input).index(values)] = chosen
    graph.node.insert(place, onnx.helper.make_node("Gather", [values, numbers], [chosen], axis=1))


def _rewire_(graph: onnx.GraphProto, replaced: dict[str, str]) -> None:
    """Let every reader of a key read its value instead."""
    for node in graph.node:
        for place, name in enumerate(node.input):
            while name in replaced and replaced[name] != name:
                name = replaced[name]  # noqa: PLW2901  a chain ends at what nothing replaces
            node.input[place] = name


def _drop_unused_(graph: onnx.GraphProto) -> None:
    """Remove what no output depends on."""
    needed = {output.name for output in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    del graph.value_info[:]  # shapes of the dense model
