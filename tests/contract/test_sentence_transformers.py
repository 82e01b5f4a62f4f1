"""Pruned encoders of every family, as what sentence-transformers calls its Transformer."""

from pathlib import Path

import pytest
import torch

import secateur
from secateur.models.checkpoint import load, save
from secateur.models.pooling import Embedders
from secateur.models.surgery import cut_, widths_of
from tests.tiny_models import EAGER, ENCODER_TABLES, some_masks, spread, tiny_config, tiny_tokenizer

TEXTS = ["good day", "the train is very bad", "a"]


@pytest.mark.parametrize("model_type", ENCODER_TABLES)
def test_a_pruned_encoder_gives_its_vectors(model_type: str, tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    torch.manual_seed(0)
    attention = "eager" if model_type in EAGER else "sdpa"
    config = tiny_config(model_type)
    model = spread(Embedders.from_config(config, attn_implementation=attention))
    masks = some_masks(model)
    masks.heads[1][:] = False
    cut_(model, masks)
    model.config.architectures = [type(model).__name__]
    save(model, tiny_tokenizer(), tmp_path / "model", card={"max_length": 16}, check_reload=False)
    found = secateur.sentence_transformer(tmp_path / "model", device="cpu")
    assert isinstance(found, library.SentenceTransformer)
    assert (found.max_seq_length, widths_of(found[0].auto_model)) == (16, widths_of(model))
    batch = tiny_tokenizer()(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = load(tmp_path / "model")(batch["input_ids"], batch["attention_mask"]).logits
    torch.testing.assert_close(found.encode(TEXTS, convert_to_tensor=True), expected, rtol=0, atol=1e-5)
