from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from secateur.errors import ModelError
from secateur.families.linears import convert_
from secateur.formats import padded
from secateur.formats.padded import export_padded
from secateur.models.card import read_card, verify
from secateur.models.checkpoint import load, save
from secateur.models.surgery import cut_, widths_of
from tests.tiny_models import logits_of, some_masks, tiny_model, tiny_tokenizer


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    model = tiny_model()
    cut_(model, some_masks(model))
    save(model, tiny_tokenizer(), tmp_path / "model", card={"stage": "prune@r1"}, check_reload=False)
    return tmp_path / "model"


def test_the_padded_folder_is_a_checkpoint_too(checkpoint: Path, tmp_path: Path, capfd):
    export_padded(checkpoint, tmp_path / "padded")
    verify(tmp_path / "padded")
    assert widths_of(load(tmp_path / "padded")).heads == (4, 4, 4)
    torch.testing.assert_close(logits_of(load(tmp_path / "padded")), logits_of(load(checkpoint)), rtol=0, atol=1e-5)
    card = read_card(tmp_path / "padded")
    assert card["source_weights_sha256"] == read_card(checkpoint)["weights_sha256"]
    assert card["runtime"] == "padded"
    assert AutoTokenizer.from_pretrained(tmp_path / "padded")("good day")["input_ids"] == [2, 4, 6, 3]
    assert capfd.readouterr() == ("", "")


def test_a_model_in_bf16_stays_one(tmp_path: Path):
    model = convert_(tiny_model(), torch.bfloat16)
    cut_(model, some_masks(model))
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    export_padded(tmp_path / "model", tmp_path / "padded")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "padded")
    assert plain.dtype == torch.bfloat16
    torch.testing.assert_close(logits_of(plain.float()), logits_of(model.float()), rtol=0, atol=1e-5)


def test_padding_that_goes_wrong_is_not_written(checkpoint: Path, tmp_path: Path, monkeypatch):
    def wrong(model):
        pad(model)
        model.classifier.bias.data += 1

    pad = padded.pad_
    monkeypatch.setattr(padded, "pad_", wrong)
    with pytest.raises(ModelError, match="the padded model differs from the checkpoint by 1"):
        export_padded(checkpoint, tmp_path / "padded")
    assert not (tmp_path / "padded").exists()
