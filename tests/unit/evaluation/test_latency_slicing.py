"""Sliced graphs compute what the cut model computes."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from transformers import PreTrainedModel

from secateur.budget.graph_slicing import DenseGraph
from secateur.budget.latency_measurement import _random_model, cut_copy
from secateur.families.structures import Widths
from secateur.formats.onnx import quantize_
from secateur.inference.runners import OnnxRunner, TorchRunner
from secateur.models.surgery import widths_of
from tests.tiny_models import GRAPHS, tiny_config, tiny_model

WIDTHS = [
    Widths(heads=(4, 4, 4), ffn=(24, 24, 24), head_dim=8),
    Widths(heads=(1, 3, 2), ffn=(24, 7, 16), head_dim=8),
    Widths(heads=(0, 4, 1), ffn=(8, 0, 24), head_dim=8),
    Widths(heads=(0, 0, 0), ffn=(0, 1, 0), head_dim=8),
    Widths(heads=(2,), ffn=(8,), head_dim=8),
]


@pytest.fixture(scope="module")
def graph_of() -> Callable[..., tuple[PreTrainedModel, DenseGraph]]:
    @cache
    def make(model_type: str, *, int8: bool) -> tuple[PreTrainedModel, DenseGraph]:
        model = tiny_model(model_type)
        return model, DenseGraph(model, int8=int8)

    return make


@pytest.mark.parametrize("model_type", GRAPHS)
def test_a_slice_gives_the_logits_of_the_cut_model(graph_of, model_type: str, tmp_path: Path):
    model, graph = graph_of(model_type, int8=False)
    ids = np.random.default_rng(0).integers(4, 60, size=(2, 9))
    for widths in WIDTHS:
        onnx.save(graph.slice(widths), tmp_path / "slice.onnx")
        found = OnnxRunner(tmp_path / "slice.onnx", num_threads=1)(ids, np.ones_like(ids))
        expected = TorchRunner(cut_copy(model, widths))(ids, np.ones_like(ids))
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("widths", WIDTHS)
def test_slicing_commutes_with_quantisation(graph_of, widths: Widths, tmp_path: Path):
    sliced = graph_of("bert", int8=False)[1].slice(widths)
    quantize_(sliced, tmp_path / "int8.onnx")
    expected = onnx.load(tmp_path / "int8.onnx")
    found = graph_of("bert", int8=True)[1].slice(widths)
    assert sorted(node.op_type for node in found.graph.node) == sorted(node.op_type for node in expected.graph.node)
    assert shapes(found) == shapes(expected)
    onnx.save(found, tmp_path / "slice.onnx")
    ids = np.ones((1, 4), dtype=np.int64)
    assert np.isfinite(OnnxRunner(tmp_path / "slice.onnx", num_threads=1)(ids, ids)).all()


def shapes(model: onnx.ModelProto) -> list[tuple[int, tuple[int, ...]]]:
    return sorted((tensor.data_type, tuple(tensor.dims)) for tensor in model.graph.initializer)


def test_a_model_of_random_weights_can_be_cut():
    config = tiny_config("gpt2")  # whose projections are linears once it is prepared
    config.architectures = ["GPT2LMHeadModel"]
    assert widths_of(cut_copy(_random_model(config), WIDTHS[1])) == WIDTHS[1]


def test_the_model_behind_a_cut_copy_stays_as_it_is():
    model = tiny_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    cut_copy(model, WIDTHS[2])
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
