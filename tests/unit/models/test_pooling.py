"""Embedding models: how they pool, what is refused, and that a base of one is still a base of a classifier."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize
from transformers import AutoModel

from secateur.errors import ModelError
from secateur.models.base_model import load_base, task_config
from secateur.models.checkpoint import described, load
from secateur.models.pooling import said_of
from tests.tiny import write_bert
from tests.tiny_embedder import write_embedder

IDS = torch.tensor([[5, 6, 7, 8, 9], [10, 11, 12, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def states_of(folder: Path) -> torch.Tensor:
    with torch.inference_mode():
        plain = AutoModel.from_pretrained(folder, local_files_only=True).eval()
        return plain(input_ids=IDS, attention_mask=MASK).last_hidden_state


def vectors_of(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS, attention_mask=MASK).logits


@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token"])
def test_a_vector_is_what_the_folder_says(tmp_path: Path, pooling: str) -> None:
    folder = write_embedder(tmp_path / "model", pooling=pooling)
    states, model = states_of(folder), load(folder)
    pooled = states[:, 0] if pooling == "cls_token" else torch.stack([states[0].mean(0), states[1, :3].mean(0)])
    torch.testing.assert_close(vectors_of(model), normalize(pooled, dim=1))
    assert torch.equal(vectors_of(copy.deepcopy(model)), vectors_of(model))
    assert model.config.embedding_pooling == pooling.partition("_")[0]
    assert not any("pooler" in name for name in model.state_dict())
    assert described(folder).max_length == 24


def test_a_plain_encoder_takes_the_mean(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "plain")
    assert load(folder).config.embedding_pooling == "mean"
    assert "nothing says otherwise" in said_of(folder)
    load(write_embedder(tmp_path / "cls", pooling="cls_token")).save_pretrained(tmp_path / "further")
    assert said_of(tmp_path / "further").startswith("cls pooling") and "config.json says" in said_of(
        tmp_path / "further"
    )
    assert "unit vectors from here on" in said_of(write_embedder(tmp_path / "long", normalizes=False))


def test_a_classifier_on_top_of_one_knows_nothing_of_it(tmp_path: Path) -> None:
    folder = write_embedder(tmp_path / "model")
    assert "embedding_pooling" in vars(task_config(folder, labels=()))
    assert "embedding_pooling" not in vars(task_config(folder, labels=["a", "b"]))
    assert "embedding_pooling" not in load_base(folder, labels=["a", "b"]).config.to_dict()


def _write(name: str, change: Any) -> Any:
    def edit(folder: Path) -> None:
        file = folder / name
        values = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(change(values)))

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_write("1_Pooling/config.json", lambda values: values | {"pooling_mode_max_tokens": True}), "pools by mean, "),
        (_write("1_Pooling/config.json", lambda _: {"pooling_mode": "lasttoken"}), "pools by lasttoken; mean or cls"),
        (
            _write("modules.json", lambda modules: [*modules, {"type": "sentence_transformers.models.Dense"}]),
            "names Transformer, Pooling, Normalize, Dense; Transformer, Pooling, Normalize are supported",
        ),
        (
            _write("modules.json", lambda modules: [modules[0] | {"path": "0_Transformer"}, *modules[1:]]),
            "the encoder lies in 0_Transformer",
        ),
        (
            _write("config_sentence_transformers.json", lambda _: {"default_prompt_name": "query"}),
            "puts the prompt 'query' before every text",
        ),
    ],
)
def test_what_pools_otherwise_is_refused(tmp_path: Path, edit: Any, message: str) -> None:
    folder = write_embedder(tmp_path / "model")
    edit(folder)
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_the_newer_spelling_of_a_mode_is_read(tmp_path: Path) -> None:
    folder = write_embedder(tmp_path / "model")
    (folder / "1_Pooling/config.json").write_text(json.dumps({"embedding_dimension": 32, "pooling_mode": "cls"}))
    assert load(folder).config.embedding_pooling == "cls"


def test_small_letters_that_the_tokenizer_does_not_write_are_refused(tmp_path: Path) -> None:
    folder = write_embedder(tmp_path / "model")
    _write("sentence_bert_config.json", lambda values: values | {"do_lower_case": True})(folder)
    load(folder)  # the tokenizer writes them as well
    _write("tokenizer_config.json", lambda values: values | {"do_lower_case": False})(folder)
    with pytest.raises(ModelError, match="writes every text in small letters first"):
        load(folder)
