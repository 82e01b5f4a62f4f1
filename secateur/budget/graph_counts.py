"""Numbers of heads and neurons that stand in a graph as constants: sizes of what is reshaped, expanded or split.

Which ones they are tells a second graph, of a model whose layers have a head and a neuron more: what differs in it
grows with them.
"""

import copy
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper
from transformers import PreTrainedModel

from secateur.budget.layer_graph import Array
from secateur.errors import ModelError
from secateur.families import family_of
from secateur.families.structures import Ffn
from secateur.formats.padding import pad_attention, pad_columns, pad_rows

_CARRIES = ("Add", "Cast", "Concat", "Div", "Mul", "Squeeze", "Sub", "Unsqueeze")
"""What makes sizes of other sizes."""

_DIFFERS = "the exported graph has another form for other widths, so it cannot be sliced"


@dataclass(frozen=True)
class Counts:
    """Where a graph counts.

    Attributes:
        increments: (first output of a node, place of an input) -> what that constant grows by with a unit.
        readers: first output of a node that is given a size -> the places of its inputs that are.
        carriers: the same for nodes that make sizes of sizes.
    """

    increments: Mapping[tuple[str, int], Array]
    readers: Mapping[str, tuple[int, ...]]
    carriers: Mapping[str, tuple[int, ...]]

    @classmethod
    def none(cls) -> "Counts":
        """Count nothing: heads are told by their features everywhere."""
        return cls({}, {}, {})


def widened(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy whose layers have a head and a neuron more; a neuron, where a layer has one head or none."""
    wide, family = copy.deepcopy(model), family_of(model)
    more = 0 if family.heads_go_together else 1
    for index, layer in enumerate(family.layers(wide)):
        attention, ffn = layer.attention, layer.ffn
        family.replace_attention_(wide, index, pad_attention(attention, attention.num_heads + more, attention.head_dim))
        ups = tuple(pad_rows(up, ffn.width + 1) for up in ffn.up)
        family.replace_ffn_(wide, index, Ffn(up=ups, down=pad_columns(ffn.down, ffn.width + 1)))
    return wide


def counts_of(dense: onnx.ModelProto, wide: onnx.ModelProto, *, projections: Collection[str]) -> Counts:
    """Compare a graph with that of the widened model.

    Args:
        dense: as ``trace_layers`` gives it.
        wide: the other one.
        projections: names of weights and biases in ``dense`` that are expected to differ.

    Raises:
        ModelError: they differ in more than constants.
    """
    increments = dict(_increments(dense, wide, projections=projections))
    carried: set[str] = set()
    readers, carriers = {}, {}
    for node in dense.graph.node:
        name = node.output[0]
        found = tuple(i for i, given in enumerate(node.input) if (name, i) in increments or given in carried)
        if not found:
            continue
        if node.op_type in _CARRIES or (node.op_type == "Reshape" and found == (0,)):
            carriers[name] = found
            carried.update(node.output)
        else:
            readers[name] = found
    return Counts(increments, readers, carriers)


def _increments(
    dense: onnx.ModelProto, wide: onnx.ModelProto, *, projections: Collection[str]
) -> Iterator[tuple[tuple[str, int], Array]]:
    before, after = _arrays(dense), _arrays(wide)
    if [node.op_type for node in dense.graph.node] != [node.op_type for node in wide.graph.node]:
        raise ModelError(_DIFFERS)
    for one, other in zip(dense.graph.node, wide.graph.node, strict=True):
        if list(one.attribute) != list(other.attribute) or len(one.input) != len(other.input):
            raise ModelError(_DIFFERS)
        for place, (name, its) in enumerate(zip(one.input, other.input, strict=True)):
            if name not in before or name in projections:
                continue
            value, wider = before[name], after.get(its)
            if wider is None or value.shape != wider.shape or value.dtype != wider.dtype:
                raise ModelError(_DIFFERS)
            if value.dtype == np.int64 and not np.array_equal(value, wider):
                yield (one.output[0], place), np.subtract(wider, value)


def _arrays(graph: onnx.ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}


@dataclass(frozen=True)
class Recount:
    """Writes sizes of other widths into a copy of a graph.

    Attributes:
        graph: changed in place.
        arrays: its constants, to which more are added.
        counts: where it counts.
    """

    graph: onnx.GraphProto
    arrays: dict[str, Array]
    counts: Counts

    def write_(self, more: Mapping[str, int]) -> None:
        """Give every node that is given sizes those of its layer.

        Args:
            more: first output of such a node -> units that its layer has more (fewer: below 0) than the graph; those
                that are left out stay as they are.
        """
        makers = {node.output[0]: node for node in self.graph.node}
        nodes: list[onnx.NodeProto] = []
        for node in self.graph.node:
            name = node.output[0]
            if name in self.counts.readers and more.get(name):
                for place in self.counts.readers[name]:
                    node.input[place] = self._size(node, place, by=more[name], at=name, makers=makers, made=nodes)
            nodes.append(node)
        copies = [copy.deepcopy(node) for node in nodes]
        del self.graph.node[:]
        self.graph.node.extend(copies)

    def _size(
        self,
        node: onnx.NodeProto,
        place: int,
        *,
        by: int,
        at: str,
        makers: Mapping[str, onnx.NodeProto],
        made: list[onnx.NodeProto],
    ) -> str:
        """Return the name of an input with ``by`` units more, for the node ``at``; what makes it is added."""
        name = node.input[place]
        own = f"{name}_of_{at}_{place}"
        if (increment := self.counts.increments.get((node.output[0], place))) is not None:
            self.arrays[own] = np.add(self.arrays[name], np.multiply(increment, by)).astype(np.int64)
            return own
        maker = onnx.NodeProto()
        maker.CopyFrom(makers[name])
        for carried in self.counts.carriers[makers[name].output[0]]:
            maker.input[carried] = self._size(makers[name], carried, by=by, at=own, makers=makers, made=made)
        maker.output[0] = own
        maker.name = own
        made.append(maker)
        return own
