"""Keys and values of the tokens before, which the graph of a step takes and gives: those of other widths."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from secateur.budget.layer_graph import Array
from secateur.formats.tracing import INPUTS, PAST, PRESENT

_ZEROS = "nothing_of_new_tokens"
_SLICED = "sliced."


@dataclass(frozen=True)
class Caches:
    """What a graph takes and gives of each layer; nothing where it reads whole rows.

    Attributes:
        count: keys and values of all layers.
        keys_per_head: see ``Family.keys_per_head``.
    """

    count: int
    keys_per_head: int = 1

    @classmethod
    def of(cls, graph: onnx.ModelProto, *, keys_per_head: int) -> "Caches":
        """Find them among the inputs of a graph."""
        return cls(sum(given.name.startswith(PAST) for given in graph.graph.input), keys_per_head)

    def narrow_(
        self, graph: onnx.GraphProto, arrays: dict[str, Array], *, heads: Sequence[int], dropped: int
    ) -> dict[str, str]:
        """Let a graph take and give what layers of these heads do.

        Args:
            graph: changed in place.
            arrays: its constants, to which some are added.
            heads: of the layers that are left, the last ones.
            dropped: layers in front of them that are not.

        Returns:
            What is to be read in place of which value.
        """
        if not self.count:
            return {}
        replaced = {f"{PAST}{place}": f"{_SLICED}{PAST}0" for place in range(2 * dropped)}
        makers = {node.output[0]: node for node in graph.node}
        absent: list[onnx.NodeProto] = []
        for number, count in enumerate(heads):
            for half in range(2):
                old, new = 2 * (dropped + number) + half, 2 * number + half
                replaced[f"{PAST}{old}"] = f"{_SLICED}{PAST}{new}"
                given = f"{PRESENT}{old}"
                makers[given].output[0] = f"dense.{given}" if count == 0 else f"{_SLICED}{PRESENT}{new}"
                replaced[given] = makers[given].output[0]
                if count == 0:
                    parts = [f"{_SLICED}{PAST}{new}", _ZEROS]
                    absent.append(helper.make_node("Concat", parts, [f"{_SLICED}{PRESENT}{new}"], axis=2))
        if absent:
            for place, node in enumerate([*_zeros(arrays), *absent]):
                graph.node.insert(place, node)
        keys = [count * self.keys_per_head for count in heads]
        _declare_(graph.input, PAST, keys, dropped=dropped)
        _declare_(graph.output, PRESENT, keys, dropped=dropped)
        return replaced

    @staticmethod
    def name_(graph: onnx.GraphProto) -> None:
        """Give what a slice takes and gives the names that its readers know."""
        for node in graph.node:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    names[place] = name.removeprefix(_SLICED)
        for values in (graph.input, graph.output):
            for value in values:
                value.name = value.name.removeprefix(_SLICED)


def _zeros(arrays: dict[str, Array]) -> Iterator[onnx.NodeProto]:
    """Yield what makes one zero per new token, as a layer without heads puts into the cache."""
    rows, new, shape, one = (f"{_ZEROS}_{name}" for name in ("rows", "new", "shape", "one"))
    arrays[one] = np.ones(1, dtype=np.int64)
    arrays[f"{_ZEROS}_0"] = np.zeros((1, 1, 1, 1), dtype=np.float32)
    yield helper.make_node("Shape", [INPUTS[0]], [rows], start=0, end=1)
    yield helper.make_node("Shape", [INPUTS[0]], [new], start=1, end=2)
    yield helper.make_node("Concat", [rows, one, new, one], [shape], axis=0)
    yield helper.make_node("Expand", [f"{_ZEROS}_0", shape], [_ZEROS])


def _declare_(values: "onnx.Sequence[onnx.ValueInfoProto]", prefix: str, keys: Sequence[int], *, dropped: int) -> None:
    """Write names and shapes of the inputs or outputs that belong to layers."""
    of_layers = {value.name: value for value in values if value.name.startswith(prefix)}
    kept = [copy.deepcopy(value) for value in values if value.name not in of_layers]
    for number, count in enumerate(keys):
        for half in range(2):
            value = copy.deepcopy(of_layers[f"{prefix}{2 * (dropped + number) + half}"])
            value.name = f"{_SLICED}{prefix}{2 * number + half}"
            sizes = value.type.tensor_type.shape.dim
            sizes[1].dim_value = max(count, 1)
            if count == 0:
                sizes[3].dim_value = 1
            kept.append(value)
    del values[:]
    values.extend(kept)
