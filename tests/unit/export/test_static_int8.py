import numpy as np
import onnx
import pytest

from secateur.evaluation.runners import OnnxRunner
from secateur.export.onnx import export_onnx
from secateur.export.static_int8 import quantize_static_onnx
from secateur.models.checkpoint import save
from tests.tiny_models import tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    root = tmp_path_factory.mktemp("static")
    save(tiny_model(), tiny_tokenizer(), root / "model", card={}, check_reload=False)
    return export_onnx(root / "model", root / "onnx")


@pytest.mark.parametrize("operators", [False, True])
def test_static_int8_answers_nearly_like_fp32(graph, tmp_path, operators):
    draw = np.random.default_rng(0)
    rows = [draw.integers(4, 60, size=length) for length in (3, 5, 8, 12, 9, 7)]
    quantize_static_onnx(graph, tmp_path / "int8.onnx", rows, operators=operators)
    stored = {tensor.data_type for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in stored
    before, after = OnnxRunner(graph, num_threads=1), OnnxRunner(tmp_path / "int8.onnx", num_threads=1)
    for ids in rows:
        expected = before(ids[None], np.ones_like(ids)[None])
        found = after(ids[None], np.ones_like(ids)[None])
        assert np.abs(found - expected).max() < 0.15 * np.abs(expected).max() + 0.05
