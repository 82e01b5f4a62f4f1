"""Small changes to an ONNX graph: its products, its initializers, nodes put between."""

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper


def products(graph: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the products with weights."""
    weights = initializers(graph)
    return [node for node in graph.graph.node if node.op_type == "MatMul" and node.input[1] in weights]


def initializers(graph: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Return the constants of a graph by name."""
    return {tensor.name: tensor for tensor in graph.graph.initializer}


def array_of(graph: onnx.ModelProto, name: str) -> npt.NDArray[np.float32]:
    """Return a constant of a graph."""
    values: npt.NDArray[np.float32] = numpy_helper.to_array(initializers(graph)[name])
    return values


def add_(graph: onnx.ModelProto, name: str, values: npt.NDArray[np.generic]) -> None:
    """Add a constant."""
    graph.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))


def insert_before_(graph: onnx.ModelProto, node: onnx.NodeProto, nodes: list[onnx.NodeProto]) -> None:
    """Put nodes before another one, in the order given."""
    place = next(number for number, one in enumerate(graph.graph.node) if one.name == node.name)
    for number, one in enumerate(nodes):
        graph.graph.node.insert(place + number, one)


def drop_unused_(graph: onnx.ModelProto) -> None:
    """Drop the constants that no node reads."""
    used = {name for node in graph.graph.node for name in node.input}
    left = [tensor for tensor in graph.graph.initializer if tensor.name in used]
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(left)
