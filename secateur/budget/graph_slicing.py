"""ONNX graphs of narrower models, cut out of the graph of one dense model of random weights.

An export takes seconds, a slice milliseconds. Only the speed of what comes out means anything.
"""

import copy
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from transformers import PreTrainedModel

from secateur.budget.graph_caches import Caches
from secateur.budget.graph_counts import Counts, Recount, counts_of, widened
from secateur.budget.layer_graph import Array, LayerGraph, trace_layers
from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.structures import Widths
from secateur.formats.onnx import ONNX_MODEL, quantize_


@dataclass(frozen=True)
class _Projection:
    """Where one linear stands in the graph.

    Attributes:
        weight: name of the initialiser.
        transposed: the initialiser is (in, out).
        bias: name of its bias, if it has one.
        queries: of a head that it holds, beside each other; 1 of keys, values and neurons.
    """

    weight: str
    transposed: bool
    bias: str | None
    queries: int = 1


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

    def __init__(self, model: PreTrainedModel) -> None:
        """Export a model; its parameters are overwritten, so that each can be told from all others.

        Args:
            model: dense, of a supported family; a generator is exported as one step with its cache.

        Raises:
            ModelError: a projection cannot be found in the exported graph, or widths change its form.
        """
        model.set_attn_implementation("eager")  # as deployed graphs are exported
        dense = family_of(model).dense_widths(model.config)
        self._dense = dense
        self._hidden_size = family_of(model).hidden_size(model.config)
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / ONNX_MODEL
            found = trace_layers(model, file)
            self._layers = _locate(model, found.graph)
            self._counts = _counts(model, found, self._layers, file)
        graph = found.graph
        self._streams = found.streams
        self._counted = _counted(found, self._layers, self._counts)
        table = _name_of_table(model, graph)
        self._caches = Caches.of(graph, keys_per_head=family_of(model).keys_per_head(model.config))
        self._suffix, self._table = "", table
        self._take_(graph)

    @property
    def counts(self) -> bool:
        """Whether sizes of heads or neurons, or keys and values of them, stand in the graph besides its weights."""
        return bool(self._counted) or self._caches.count > 0

    def quantized(self) -> Self:
        """Return the same, quantised as the deployed form is."""
        other = copy.copy(self)
        graph = copy.deepcopy(self._graph)
        graph.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in self._arrays.items())
        with tempfile.TemporaryDirectory() as scratch:
            quantize_(graph, Path(scratch) / ONNX_MODEL)
            graph = onnx.load(Path(scratch) / ONNX_MODEL)
        # The suffix of the quantised weight is all that changes in the names.
        other._suffix = "_quantized"
        other._take_(graph)
        return other

    def _take_(self, graph: onnx.ModelProto) -> None:
        self._arrays: dict[str, Array] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer
        }
        self._scores = [] if self._table is None else _added_to(graph, self._table + self._suffix)
        if self._table is not None and len(self._scores) != len(self._layers):
            raise ModelError("the table of heads is not read once per layer, so the graph cannot be sliced")
        self._graph = graph
        del self._graph.graph.initializer[:]

    def slice(self, widths: Widths) -> onnx.ModelProto:
        """Return the graph of a model with these widths; fewer layers than the dense model has are the last ones.

        A block of width 0 leaves its bias behind, as a cut does.
        """
        model = copy.deepcopy(self._graph)
        arrays = dict(self._arrays)
        dropped = len(self._layers) - widths.num_layers
        layers = self._layers[dropped:]
        replaced = {self._streams[dropped]: self._streams[0]}
        for layer, heads, neurons in zip(layers, widths.heads, widths.ffn, strict=True):
            for rows, columns, width in (
                (layer.attention_rows, layer.attention_columns, heads * self._dense.head_dim),
                (layer.ffn_rows, layer.ffn_columns, neurons),
            ):
                if width == 0:
                    replaced[self._output_of(columns)] = columns.bias or _NOTHING
                    arrays[_NOTHING] = np.zeros(self._hidden_size, dtype=np.float32)
                    continue
                for projection in rows:
                    self._narrow_(arrays, projection, width=width)
                self._narrow_(arrays, columns, width=width, of_rows=False)
        for scores, heads in zip(self._scores[-widths.num_layers :], widths.heads, strict=False):
            if 0 < heads < self._dense.heads[0]:
                _read_columns_(model.graph, arrays, scores, heads=heads)
        more = dict(self._more(widths, dropped=dropped))
        Recount(model.graph, arrays, self._counts).write_(more)
        replaced |= self._caches.narrow_(model.graph, arrays, heads=widths.heads, dropped=dropped)
        _rewire_(model.graph, replaced)
        _drop_unused_(model.graph)
        self._caches.name_(model.graph)
        used = {name for node in model.graph.node for name in node.input}
        model.graph.initializer.extend(
            numpy_helper.from_array(array, name) for name, array in arrays.items() if name in used
        )
        return model

    def _more(self, widths: Widths, *, dropped: int) -> Iterator[tuple[str, int]]:
        """Yield the nodes that are given sizes, and how many units their blocks have more than the dense ones."""
        for name, (layer, is_attention) in self._counted.items():
            if layer < dropped:
                continue
            of_slice, of_dense = ((each.heads if is_attention else each.ffn) for each in (widths, self._dense))
            if width := of_slice[layer - dropped]:
                yield name, width - of_dense[layer]

    def _narrow_(self, arrays: dict[str, Array], projection: _Projection, *, width: int, of_rows: bool = True) -> None:
        """Keep the first outputs of a projection, or the first inputs; those of all its parts, where they are units."""
        name = projection.weight + self._suffix
        array = arrays[name]
        by_first_axis = of_rows != projection.transposed
        arrays[name] = np.ascontiguousarray(self._first(array, projection, width, axis=0 if by_first_axis else 1))
        if not of_rows:
            return
        # In int8 every output feature has a scale of its own.
        for part in (projection.bias, f"{projection.weight}_scale", f"{projection.weight}_zero_point"):
            if part is not None and part in arrays:
                arrays[part] = self._first(arrays[part], projection, width, axis=0)

    def _first(self, array: Array, projection: _Projection, width: int, *, axis: int) -> Array:
        kept = width * projection.queries
        return array[:kept] if axis == 0 else array[:, :kept]

    def _output_of(self, projection: _Projection) -> str:
        """Return what a projection puts out, with its bias if it has one."""
        if projection.bias is not None:
            (node,) = self._readers(projection.bias)
            return str(node.output[0])
        (node,) = self._readers(projection.weight + self._suffix)
        # In int8 it is scaled behind the product.
        for kind in ("Cast", "Mul") if self._suffix else ():
            (node,) = self._readers(str(node.output[0]))
            if node.op_type != kind:
                raise ModelError(f"a product in int8 is followed by {node.op_type}, so the graph cannot be sliced")
        return str(node.output[0])

    def _readers(self, name: str) -> list[onnx.NodeProto]:
        return [node for node in self._graph.graph.node if name in node.input]


def _counts(model: PreTrainedModel, found: LayerGraph, layers: tuple[_Layer, ...], file: Path) -> Counts:
    """Return where the graph counts heads or neurons; encoders of one query per head never do."""
    family = family_of(model)
    if not family.generates and family.anatomy(model.config).queries_per_head == 1:
        return Counts.none()
    projections = {
        name
        for layer in layers
        for each in (*layer.attention_rows, layer.attention_columns, *layer.ffn_rows, layer.ffn_columns)
        for name in (each.weight, each.bias)
        if name is not None
    }
    return counts_of(found.graph, trace_layers(widened(model), file).graph, projections=projections)


def _counted(found: LayerGraph, layers: tuple[_Layer, ...], counts: Counts) -> dict[str, tuple[int, bool]]:
    """Return the layer of every node that is given sizes, and whether it is part of its attention.

    Raises:
        ModelError: such a node stands outside of the layers.
    """
    places = {node.output[0]: place for place, node in enumerate(found.graph.graph.node)}
    ends = [
        next(place for place, node in enumerate(found.graph.graph.node) if layer.attention_columns.weight in node.input)
        for layer in layers
    ]
    if outside := [name for name in counts.readers if name not in found.layer_of]:
        raise ModelError(f"{outside[0]} counts heads before the first layer, so the graph cannot be sliced")
    return {name: (layer := found.layer_of[name], places[name] < ends[layer]) for name in counts.readers}


def _locate(model: PreTrainedModel, graph: onnx.ModelProto) -> tuple[_Layer, ...]:
    """Find every projection by the values of its tensors: the exporter renames and transposes them."""
    arrays = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) in (1, 2)
    }
    names = {(array.ndim, float(array.flat[0])): name for name, array in arrays.items() if array.size > 1}

    def find(linear: nn.Linear, queries: int = 1) -> _Projection:
        weight = linear.weight.detach().numpy()
        # torch declares a bias that may be None as one that is there.
        bias = cast("torch.Tensor | None", linear.bias)
        try:
            name = names[2, float(weight.flat[0])]
            bias_name = None if bias is None else names[1, float(bias.detach()[0])]
        except KeyError as error:
            raise ModelError("a projection is not in the exported graph, so the graph cannot be sliced") from error
        return _Projection(name, not np.array_equal(arrays[name], weight), bias_name, queries)

    return tuple(
        _Layer(
            attention_rows=(
                find(layer.attention.query, layer.attention.queries_per_head),
                find(layer.attention.key),
                find(layer.attention.value),
            ),
            attention_columns=find(layer.attention.output, layer.attention.queries_per_head),
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


def _read_columns_(graph: onnx.GraphProto, arrays: dict[str, Array], scores: tuple[str, str], *, heads: int) -> None:
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
