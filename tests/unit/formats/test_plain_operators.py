"""A program that need not be taken apart gives the graph of the one that is."""

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from secateur.formats import tracing
from secateur.formats.plain_operators import without_decompositions
from tests.tiny_models import tiny_model


def _traced(module: nn.Module, *given: torch.Tensor) -> torch.export.ExportedProgram:
    return torch.export.export(module, given, dynamic_shapes=tuple({0: torch.export.Dim.DYNAMIC} for _ in given))


@pytest.mark.parametrize("model_type", ["bert", "roberta", "modernbert"])
def test_the_graph_has_the_operators_of_the_exporters_own(
    model_type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of values alone are numbered otherwise; and the second trace is gone."""
    model = tiny_model(model_type, attention="eager", num_layers=1)
    traces = []
    decompose = torch.export.ExportedProgram.run_decompositions

    def counted(program: torch.export.ExportedProgram, *given: object, **named: object) -> object:
        traces.append(program)
        return decompose(program, *given, **named)

    monkeypatch.setattr(torch.export.ExportedProgram, "run_decompositions", counted)
    tracing.trace(model, tmp_path / "plain.onnx")
    assert not traces
    monkeypatch.setattr(tracing, "without_decompositions", lambda _: None)
    tracing.trace(model, tmp_path / "decomposed.onnx")
    assert traces
    plain, decomposed = (onnx.load(tmp_path / f"{name}.onnx").graph for name in ("plain", "decomposed"))
    assert [node.op_type for node in plain.node] == [node.op_type for node in decomposed.node]
    assert [(tensor.dims, tensor.data_type) for tensor in plain.initializer] == [
        (tensor.dims, tensor.data_type) for tensor in decomposed.initializer
    ]


def test_what_is_written_in_place_is_taken_apart() -> None:
    """Its readers must see what was written, which a translation operator by operator does not know."""

    class InPlace(nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            doubled = 2 * rows
            doubled[:, 0].add_(1.0)
            return doubled

    assert without_decompositions(_traced(InPlace(), torch.ones(3, 4))) is None


def test_casts_become_copies_or_nothing() -> None:
    """The values are those of the module."""

    class Casts(nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            kept = rows.to(torch.float32)
            return kept * (rows > 1.0).to(rows.device, torch.float32)

    rows = torch.tensor([[0.5, 2.0], [3.0, 1.0]])
    plain = without_decompositions(_traced(Casts(), rows))
    assert plain is not None
    assert [str(node.target) for node in plain.graph.nodes if node.op == "call_function"] == [
        "aten.gt.Scalar",
        "aten._to_copy.default",
        "aten.mul.Tensor",
    ]
    assert torch.equal(plain.module()(rows), Casts()(rows))


def test_an_operator_that_the_exporter_does_not_know_whole_is_taken_apart(tmp_path: Path) -> None:
    """Where the short way fails the long one is gone."""

    class Least(nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            least: torch.Tensor = torch.ops.aten.rsub.Scalar(rows, 2.0)
            return least

    traced = _traced(Least(), torch.ones(3, 4))
    assert without_decompositions(traced) is not None
    tracing._save(tracing._program(traced, input_names=["rows"], output_names=["out"]), tmp_path / "least.onnx")
    assert [node.op_type for node in onnx.load(tmp_path / "least.onnx").graph.node] == ["Sub"]
