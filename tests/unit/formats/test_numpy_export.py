"""A static student that answers with numpy alone: the tokens of its tokenizer, and logits that int8 explains."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from secateur.errors import ModelError
from secateur.families.static import StaticConfig, StaticForSequenceClassification
from secateur.formats.numpy_export import export_numpy
from secateur.formats.numpy_reader import Reader
from secateur.models.card import Card
from secateur.models.checkpoint import save
from tests.tiny_models import tiny_model
from tests.tiny_tokenizers import TEXTS, byte_level, word_piece

ODD = ("", "[MASK]!", "x" * 101, "Zimmer\u200bEssen\tfine", "Ａ　ﬁne", "\u0301e\u0301", "房间" * 40, "don't " * 30)


def a_folder(path: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Path:
    save(model, tokenizer, path, card=Card(max_length=24), check_reload=False)
    return path


def a_student(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    torch.manual_seed(0)
    config = StaticConfig(
        vocab_size=len(tokenizer), hidden_size=32, id2label={0: "bad", 1: "fine", 2: "good"}, pad_token_id=0
    )
    return StaticForSequenceClassification(config).eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("numpy")
    return export_numpy(a_folder(root / "student", a_student(word_piece()), word_piece()), root / "exported")


@pytest.mark.parametrize("text", [*TEXTS, *ODD])
def test_it_reads_the_tokens_that_the_tokenizer_reads(exported: Path, text: str) -> None:
    expected = word_piece()([text], truncation=True, max_length=24)["input_ids"][0]
    assert Reader(exported).ids(text) == expected


def test_its_logits_are_those_of_the_student_up_to_int8(exported: Path) -> None:
    made, reader, tokenizer = a_student(word_piece()), Reader(exported), word_piece()
    with torch.inference_mode():
        ids = [tokenizer(text)["input_ids"] for text in TEXTS]
        expected = np.array([made(torch.tensor([row])).logits[0].numpy() for row in ids])
    found = np.array([reader.logits(text) for text in TEXTS])
    assert 0 < np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    scores = reader.scores(TEXTS[0])
    assert [*scores] == ["bad", "fine", "good"] and sum(scores.values()) == pytest.approx(1.0)
    assert scores["good"] == pytest.approx(float(torch.tensor(found[0]).softmax(dim=0)[2]))


def test_it_needs_python_and_numpy_alone(exported: Path) -> None:
    code = (
        "import runpy, sys; sys.argv = ['reader.py', 'Good hotel']; runpy.run_path(%r, run_name='__main__'); "
        "print(sorted({'torch', 'transformers', 'tokenizers', 'safetensors', 'secateur'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-I", "-c", code % str(exported / "reader.py")], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    label, _, text = found[0].split("\t")
    assert label in ("bad", "fine", "good") and text == "Good hotel" and found[1] == "[]"


def test_what_was_changed_is_not_read(exported: Path, tmp_path: Path) -> None:
    for file in exported.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    said = json.loads((tmp_path / "reader.json").read_text())
    (tmp_path / "reader.json").write_text(json.dumps({**said, "labels": ["good", "fine", "bad"]}))
    with pytest.raises(ValueError, match=r"reader\.json differs from its digest in card\.json: export it again"):
        Reader(tmp_path)


def test_what_it_cannot_follow_is_refused(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "student", a_student(byte_level()), byte_level())
    with pytest.raises(ModelError, match=r"numpy reads tokens as BERT does; this tokenizer is .* BPE: --to onnx"):
        export_numpy(folder, tmp_path / "out")
    dense = a_folder(tmp_path / "dense", tiny_model("bert"), word_piece())
    with pytest.raises(ModelError, match="numpy reads static students; this is a bert: --to onnx exports it"):
        export_numpy(dense, tmp_path / "out")
    assert not (tmp_path / "out").exists()
