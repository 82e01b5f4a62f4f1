import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from secateur.errors import CheckpointError, ModelError
from secateur.families import family_of
from secateur.formats import onnx as exporter
from secateur.formats.onnx import export_onnx
from secateur.inference.prediction import Predictor
from secateur.inference.runners import OnnxRunner, open_runner
from secateur.models.card import read_card, verify
from secateur.models.checkpoint import save
from secateur.models.hidden import cut_hidden_
from secateur.models.surgery import cut_
from tests.tiny_models import GRAPHS, some_masks, tiny_model, tiny_tokenizer

# A tracer takes seconds per model, so one export serves many tests.


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    model = tiny_model()
    cut_(model, some_masks(model))
    folder = tmp_path_factory.mktemp("onnx") / "model"
    save(model, tiny_tokenizer(), folder, card={"stage": "prune@r1", "max_length": 16}, check_reload=False)
    return folder


@pytest.fixture(scope="module")
def workdir(checkpoint: Path) -> Path:
    open_runner(checkpoint, runtime="onnx-int8", num_threads=1, workdir=checkpoint.parent / "work")
    return checkpoint.parent / "work"


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray]:
    ids = np.random.default_rng(0).integers(5, 60, size=(5, 17), dtype=np.int64)
    mask = np.ones_like(ids)
    mask[2, 9:] = 0
    return ids, mask


def test_onnx_gives_the_logits_of_torch(checkpoint: Path, workdir: Path, batch):
    torch_logits, onnx_logits = (
        open_runner(checkpoint, runtime=runtime, num_threads=1, workdir=workdir)(*batch)
        for runtime in ("torch", "onnx")
    )
    np.testing.assert_allclose(onnx_logits, torch_logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("runtime", ["onnx", "onnx-int8"])
def test_batch_and_length_are_free(checkpoint: Path, workdir: Path, runtime):
    runner = open_runner(checkpoint, runtime=runtime, num_threads=1, workdir=workdir)
    for batch, length in ((1, 1), (1, 33), (7, 2)):
        ids = np.full((batch, length), 6, dtype=np.int64)
        assert runner(ids, np.ones_like(ids)).shape == (batch, 3)


def test_int8_is_close_and_not_equal(checkpoint: Path, workdir: Path, batch):
    fp32, int8 = (
        open_runner(checkpoint, runtime=runtime, num_threads=1, workdir=workdir)(*batch)
        for runtime in ("onnx", "onnx-int8")
    )
    assert 0 < np.abs(int8 - fp32).max() < 0.3 * np.abs(fp32).max()


def test_exports_are_found_again_and_repaired(checkpoint: Path, workdir: Path, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("exported again")

    with monkeypatch.context() as patched:
        patched.setattr("secateur.inference.runners.export_onnx", fail)
        patched.setattr("secateur.inference.runners.quantize_onnx", fail)
        open_runner(checkpoint, runtime="onnx-int8", num_threads=1, workdir=workdir)
    (int8,) = workdir.glob("*-onnx-int8")
    (int8 / "model.onnx").write_bytes(b"half")
    open_runner(checkpoint, runtime="onnx-int8", num_threads=1, workdir=workdir)
    verify(int8)


def test_the_folder_is_complete_and_names_no_path(checkpoint: Path, workdir: Path):
    (folder,) = workdir.glob("*-onnx")
    assert {file.name for file in folder.iterdir()} == {
        "model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json", "card.json",
    }  # fmt: skip
    verify(folder)
    card = read_card(folder)
    assert card["runtime"] == "onnx"
    assert card["weights_sha256"] == read_card(checkpoint)["weights_sha256"]
    content = (folder / "model.onnx").read_bytes()
    assert b".py" not in content
    assert str(Path.cwd()).encode() not in content


def test_two_exports_give_the_same_bytes(checkpoint: Path, workdir: Path, tmp_path: Path):
    (folder,) = workdir.glob("*-onnx")
    export_onnx(checkpoint, tmp_path / "again")
    for file in folder.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


def test_weights_of_matrices_and_embeddings_are_int8(workdir: Path):
    (folder,) = workdir.glob("*-onnx-int8")
    graph = onnx.load(folder / "model.onnx").graph
    sizes = {onnx.TensorProto.INT8: 0, onnx.TensorProto.FLOAT: 0}
    for tensor in graph.initializer:
        if tensor.data_type in sizes:
            sizes[tensor.data_type] += int(np.prod(tensor.dims))
    assert sizes[onnx.TensorProto.INT8] > 5 * sizes[onnx.TensorProto.FLOAT]


@pytest.mark.parametrize("runtime", ["onnx", "onnx-int8"])
def test_a_predictor_reads_the_folder(workdir: Path, checkpoint: Path, runtime):
    (folder,) = workdir.glob(f"*-{runtime}")
    predictor = Predictor.load(folder)
    assert predictor.max_length == 16
    texts = ["good day", "the train is bad"]
    expected = Predictor.load(checkpoint).predict(texts)
    for ours, theirs in zip(predictor.predict(texts), expected, strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=1e-5 if runtime == "onnx" else 0.2)
    with pytest.raises(CheckpointError, match=f"holds a model for {runtime}, asked for torch"):
        Predictor.load(folder, runtime="torch")


def test_a_graph_that_differs_is_not_written(checkpoint: Path, workdir: Path, tmp_path: Path, monkeypatch):
    (folder,) = workdir.glob("*-onnx")
    wrong = onnx.load(folder / "model.onnx")
    bias = next(tensor for tensor in wrong.graph.initializer if tensor.name.endswith("classifier.bias"))
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 1, bias.name))
    monkeypatch.setattr(exporter, "trace", lambda model, file, typed: onnx.save(wrong, file))
    with pytest.raises(ModelError, match="differs from the checkpoint by 1 in the logits"):
        export_onnx(checkpoint, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model_type", GRAPHS)
def test_every_family_exports_whatever_is_gone(model_type, tmp_path: Path, batch, capfd, caplog):
    """No heads, no neurons, neither of them in one layer each; fewer features; the fp32 logits are compared inside."""
    model = tiny_model(model_type)
    masks = some_masks(model)
    for mask in (masks.heads[0], masks.ffn[1], masks.heads[2], masks.ffn[2]):
        mask[:] = False
    cut_(model, masks)
    cut_hidden_(model, torch.arange(32) < 26)
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    file = export_onnx(tmp_path / "model", tmp_path / "out", int8=True)
    assert OnnxRunner(file, num_threads=1)(*batch).shape == (5, 3)
    graph = onnx.load(file).graph
    assert all(0 not in tensor.dims for tensor in graph.initializer)
    # What is left of three layers: q, k, v, output of one attention, two of one FFN, and two of the head; q and k again
    # where they read relative positions, and a second one into the FFN where that is gated.
    products = [node.op_type for node in graph.node if node.op_type == "MatMulInteger"]
    family = family_of(model)
    parts = family.anatomy(model.config)
    more = (family.entrance(model) is not None) + 2 * (parts.positions > 0) + parts.num_ups - 1
    assert len(products) == 8 + more
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []
