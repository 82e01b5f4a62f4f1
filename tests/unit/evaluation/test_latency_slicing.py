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


OF_TWO = [widths.take([0, 1]) for widths in WIDTHS[1:3]] + [WIDTHS[4]]
"""A decoder counts its heads where it repeats keys, so it is exported twice, which takes seconds each: two layers."""


@pytest.fixture(scope="module")
def graph_of() -> Callable[..., tuple[PreTrainedModel, DenseGraph]]:
    @cache
    def graph(model_type: str) -> tuple[PreTrainedModel, DenseGraph]:
        model = tiny_model(model_type, num_layers=2 if model_type == "llama" else 3)
        return model, DenseGraph(model)

    return graph


@pytest.mark.parametrize("model_type", GRAPHS)
def test_a_slice_gives_the_logits_of_the_cut_model(graph_of, model_type: str, tmp_path: Path):
    model, graph = graph_of(model_type)
    ids = np.random.default_rng(0).integers(4, 60, size=(2, 9))
    for widths in WIDTHS:
        found = _sliced(graph, widths, tmp_path)(ids, np.ones_like(ids))
        expected = TorchRunner(cut_copy(model, widths))(ids, np.ones_like(ids))
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_so_does_that_of_a_decoder_with_labels(graph_of, tmp_path: Path):
    """Padded on the right and on the left: it reads the last token of a row."""
    model, graph = graph_of("llama")
    ids = np.random.default_rng(0).integers(4, 60, size=(3, 9))
    mask = np.ones_like(ids)
    mask[1, 6:], mask[2, :4] = 0, 0
    ids[mask == 0] = model.config.pad_token_id
    for widths in OF_TWO:
        found = _sliced(graph, widths, tmp_path)(ids, mask)
        np.testing.assert_allclose(found, TorchRunner(cut_copy(model, widths))(ids, mask), atol=2e-5)


@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_slicing_commutes_with_quantisation(graph_of, model_type: str, tmp_path: Path):
    graph = graph_of(model_type)[1]
    quantized = graph.quantized()
    for widths in WIDTHS if model_type == "bert" else OF_TWO:
        quantize_(graph.slice(widths), tmp_path / "int8.onnx")
        expected = onnx.load(tmp_path / "int8.onnx")
        found = quantized.slice(widths)
        assert sorted(node.op_type for node in found.graph.node) == sorted(node.op_type for node in expected.graph.node)
        assert shapes(found) == shapes(expected)
        onnx.save(found, tmp_path / "slice.onnx")
        ids = np.ones((1, 4), dtype=np.int64)
        assert np.isfinite(OnnxRunner(tmp_path / "slice.onnx", num_threads=1)(ids, ids)).all()


def _sliced(graph: DenseGraph, widths: Widths, folder: Path) -> OnnxRunner:
    onnx.save(graph.slice(widths), folder / "slice.onnx")
    return OnnxRunner(folder / "slice.onnx", num_threads=1)


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
