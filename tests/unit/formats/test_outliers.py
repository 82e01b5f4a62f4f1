"""Int8 of embedding models: what is computed stays, and what stands out costs the others nothing."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

from secateur.formats.onnx import export_onnx, quantize_, quantize_onnx
from secateur.formats.outliers import IN_FP32, spare_outliers_
from secateur.models.checkpoint import load
from tests.tiny_embedder import write_embedder

IDS = np.arange(5, 45, dtype=np.int64).reshape(4, 10)


def run(model: Path | onnx.ModelProto) -> np.ndarray:
    given = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    session = onnxruntime.InferenceSession(given, providers=["CPUExecutionProvider"])
    return np.concatenate(
        [session.run(None, {"input_ids": row[None], "attention_mask": np.ones_like(row[None])})[0] for row in IDS]
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in which one neuron is a hundred times as large as the others, and changes nothing."""
    root = tmp_path_factory.mktemp("outliers")
    folder = write_embedder(root / "model", layers=2)
    model = load(folder)
    with torch.no_grad():
        layer = model.encoder.layer[0]
        layer.intermediate.dense.weight[3] = 0.0
        layer.intermediate.dense.bias[3] = 1000.0
        layer.output.dense.weight[:, 3] *= 1e-4
    model.save_pretrained(root / "model")
    export_onnx(folder, root / "fp32")
    return root / "fp32"


def test_what_is_computed_stays(exported: Path) -> None:
    graph = onnx.load(exported / "model.onnx")
    spared = spare_outliers_(graph, exported)
    assert len(spared) == 2 and all(name.endswith(IN_FP32) for name in spared), "one product has one outlier"
    np.testing.assert_allclose(run(graph), run(exported / "model.onnx"), atol=1e-5)
    again = onnx.load(exported / "model.onnx")
    spare_outliers_(again, exported)
    assert again.SerializeToString() == graph.SerializeToString()


def test_int8_loses_less(exported: Path, tmp_path: Path) -> None:
    expected = run(exported / "model.onnx")
    quantize_(onnx.load(exported / "model.onnx"), tmp_path / "plain.onnx")
    plain, spared = run(tmp_path / "plain.onnx"), run(quantize_onnx(exported, tmp_path / "int8"))
    lost = [float(1.0 - (found * expected).sum(axis=1).min()) for found in (plain, spared)]
    assert lost[1] < lost[0] / 3, lost
    operators = {node.op_type for node in onnx.load(tmp_path / "int8/model.onnx").graph.node}
    assert "MatMulInteger" in operators and "DynamicQuantizeLinear" in operators


def test_a_model_that_reads_few_tokens_is_asked_no_more(tmp_path: Path) -> None:
    folder, name = write_embedder(tmp_path / "model", layers=1), "embeddings.position_embeddings.weight"
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {name: tensors[name][:12].clone()}, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text()) | {"max_position_embeddings": 12}
    (folder / "config.json").write_text(json.dumps(config))
    export_onnx(folder, tmp_path / "fp32")
    assert run(quantize_onnx(tmp_path / "fp32", tmp_path / "int8")).shape == (len(IDS), 32)
