"""The graph of a generator: one step with its cache, whatever the widths."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import torch
from transformers import PreTrainedModel

from secateur.formats.onnx import export_onnx
from secateur.formats.tracing import cache_shapes
from secateur.models.checkpoint import save
from secateur.models.rotation import keep_coordinates_, rotate_
from tests.exported_generators import exported_generator
from tests.tiny_models import tiny_generator

IDS = torch.arange(4, 12)[None]


def logits_in_onnx(model: PreTrainedModel, file: Path) -> npt.NDArray[np.float32]:
    cache = [np.zeros(shape, np.float32) for shape in cache_shapes(model, batch=1, length=0)]
    feed = {"input_ids": IDS.numpy(), "attention_mask": np.ones((1, 8), np.int64), "logits_to_keep": np.arange(8)}
    feed |= {f"past.{place}": tensor for place, tensor in enumerate(cache)}
    logits: npt.NDArray[np.float32] = onnxruntime.InferenceSession(str(file)).run(None, feed)[0]
    return logits


@pytest.mark.parametrize("model_type", ["llama", "gpt2"])
def test_a_text_goes_on_as_in_torch(model_type: str):
    """Two texts, one padded on the left; greedy, ten tokens."""
    model, exported = exported_generator(model_type)
    session = onnxruntime.InferenceSession(str(exported))
    ids = np.array([[0, 0, 7, 8, 9], [11, 12, 13, 14, 15]])
    mask = (ids > 0).astype(np.int64)
    expected = model.generate(
        torch.from_numpy(ids),
        attention_mask=torch.from_numpy(mask),
        max_new_tokens=10,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    cache = [np.zeros(shape, np.float32) for shape in cache_shapes(model, batch=2, length=0)]
    texts, new = ids, ids
    for _ in range(10):
        feed = {"input_ids": new, "attention_mask": mask, "logits_to_keep": np.array([new.shape[1] - 1])}
        feed |= {f"past.{place}": tensor for place, tensor in enumerate(cache)}
        logits, *cache = session.run(None, feed)
        new = logits[:, -1:].argmax(-1)
        texts, mask = np.concatenate([texts, new], axis=1), np.pad(mask, ((0, 0), (0, 1)), constant_values=1)
    assert texts.tolist() == expected.tolist()


@pytest.mark.parametrize("int8", [False, True])
def test_a_head_that_is_the_embeddings_of_a_rotated_model(int8: bool, tmp_path: Path):
    model = tiny_generator("qwen3", num_layers=1)
    rotate_(model, torch.eye(32, dtype=torch.float64).flip(0))
    keep_coordinates_(model, 24)
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    file = export_onnx(tmp_path / "model", tmp_path / "onnx", int8=int8)
    found, expected = (logits_in_onnx(model, file), model(input_ids=IDS, use_cache=False).logits.detach().numpy())
    of_the_largest = np.abs(found - expected).max() / np.abs(expected).max()
    assert of_the_largest < (0.1 if int8 else 1e-6)


def test_large_logits_are_compared_by_their_size(tmp_path: Path):
    model = tiny_generator("llama", tied=False, num_layers=1)
    model.lm_head.weight.data *= 1000.0
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    file = export_onnx(tmp_path / "model", tmp_path / "onnx")
    found = logits_in_onnx(model, file)
    with torch.no_grad():
        expected = model(input_ids=IDS, use_cache=False).logits.numpy()
    assert np.abs(expected).max() > 1000.0
    assert 1e-4 < np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
