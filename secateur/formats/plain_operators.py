"""What was traced in operators that the ONNX exporter translates one by one.

The exporter takes every program apart into core operators first, for which it traces it again: half of an export. Of
encoders nearly all operators are known to it as they stand. The few that are not have a name that is.
"""

from typing import Any

import torch
from torch.fx import Node

_ATEN = torch.ops.aten
_ASSERTS = (_ATEN._assert_tensor_metadata.default,)
_CASTS = (_ATEN.to.device, _ATEN.to.dtype, _ATEN.to.dtype_layout)
_RENAMED = {_ATEN.__and__.Tensor: _ATEN.bitwise_and.Tensor}


def without_decompositions(traced: torch.export.ExportedProgram) -> torch.export.ExportedProgram | None:
    """Return a copy of a program that says of itself that it is taken apart already.

    None where an operator writes into its inputs, or a part of the program is one by itself: then only a second trace
    tells what is read afterwards.
    """
    graph = traced.graph_module
    if any(name for name, _ in graph.named_modules()) or any(map(_writes, graph.graph.nodes)):
        return None
    module = torch.fx.GraphModule(graph, graph.graph)  # its graph is a copy
    for node in list(module.graph.nodes):
        if node.op == "call_function":
            _rename_(module.graph, node)
    module.recompile()
    plain = torch.export.ExportedProgram(
        root=module,
        graph=module.graph,
        graph_signature=traced.graph_signature,
        state_dict=traced.state_dict,
        range_constraints=traced.range_constraints,
        module_call_graph=traced.module_call_graph,
        example_inputs=traced.example_inputs,
        constants=traced.constants,
    )
    plain.__dict__["run_decompositions"] = lambda *_, **__: plain
    return plain


def _writes(node: Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _rename_(graph: torch.fx.Graph, node: Node) -> None:
    """Let an operator without a translation be one that has one."""
    if node.target in _ASSERTS:
        graph.erase_node(node)
    elif node.target in _CASTS:
        _cast_(graph, node)
    elif node.target in _RENAMED:
        node.target = _RENAMED[node.target]


def _cast_(graph: torch.fx.Graph, node: Node) -> None:
    """Let a cast be a copy of another type, or nothing where the type is the same."""
    source, value = node.args[0], node.meta["val"]
    assert isinstance(source, Node)
    if source.meta["val"].dtype == value.dtype:
        node.replace_all_uses_with(source)
    else:
        with graph.inserting_before(node):
            copy: Any = graph.call_function(_ATEN._to_copy.default, (source,), {"dtype": value.dtype})
        copy.meta = dict(node.meta)
        node.replace_all_uses_with(copy)
    graph.erase_node(node)
