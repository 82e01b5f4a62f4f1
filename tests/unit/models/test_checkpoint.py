import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from transformers import AutoModelForSequenceClassification, GPTNeoConfig, T5Config

import secateur
from secateur.errors import CheckpointError, ModelError
from secateur.evaluation.summary import describe
from secateur.files import sha256_file, to_json
from secateur.models import reload_check
from secateur.models.card import read_card, verify
from secateur.models.checkpoint import load, load_tokenizer, save
from secateur.models.reload_check import check_reload, fixed_logits
from secateur.models.surgery import cut_, widths_of
from secateur.models.weights_digest import digest_weights
from tests.tiny_models import LABELS, logits_of, some_masks, tiny_model, tiny_tokenizer


@pytest.fixture
def cut_model():
    model = tiny_model()
    cut_(model, some_masks(model))
    return model


@pytest.fixture
def checkpoint(tmp_path: Path, cut_model) -> Path:
    save(cut_model, tiny_tokenizer(), tmp_path / "model", card={"stage": "prune@r1"}, check_reload=False)
    return tmp_path / "model"


def sign(folder: Path) -> None:
    """Make the card agree with files that a test has edited."""
    card = read_card(folder)
    card["files"] = {name: sha256_file(folder / name) for name in card["files"]}
    (folder / "card.json").write_text(to_json(card))


def test_a_fresh_process_gives_the_same_bits(tmp_path: Path, cut_model):
    cut_model.train()
    save(cut_model, tiny_tokenizer(), tmp_path / "model", card={})
    assert cut_model.training


def test_a_classifier_whose_config_is_still_that_of_its_encoder_is_no_embedding_model(tmp_path: Path) -> None:
    model = tiny_model()
    model.config.architectures = ["BertModel"]  # as `from_pretrained` of an encoder leaves it
    save(model, None, tmp_path / "model", card={}, check_reload=False)
    assert {file.name for file in (tmp_path / "model").iterdir()} == {"card.json", "config.json", "model.safetensors"}


def test_one_bit_of_difference_is_noticed(checkpoint: Path, cut_model, monkeypatch):
    found = fixed_logits(cut_model)
    found[1][0] += 1e-7
    monkeypatch.setattr(reload_check, "_ask", lambda _: {"logits": found})
    with pytest.raises(CheckpointError, match=r"loads to other logits than the saved model had .*largest difference"):
        check_reload(cut_model, checkpoint)


def test_a_process_that_fails_is_reported_in_one_line(tmp_path: Path, cut_model, monkeypatch):
    ask = reload_check._ask
    monkeypatch.setattr(reload_check, "_ask", lambda question: ask({**question, "num_threads": -1}))
    with pytest.raises(CheckpointError, match=r"does not load in a fresh process: it ended with 1$"):
        save(cut_model, None, tmp_path / "model", card={})
    monkeypatch.undo()
    save(cut_model, None, tmp_path / "another", card={})


def test_a_process_that_was_killed_is_started_anew(checkpoint: Path, cut_model):
    check_reload(cut_model, checkpoint)
    reload_check._process().kill()
    reload_check._process().wait()
    check_reload(cut_model, checkpoint)


def test_two_saves_give_the_same_bytes(tmp_path: Path, cut_model, checkpoint: Path):
    again = tmp_path / "elsewhere" / "again"
    save(cut_model, tiny_tokenizer(), again, card={"stage": "prune@r1"}, check_reload=False)
    names = sorted(file.name for file in checkpoint.iterdir())
    assert names == ["card.json", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    for name in names:
        content = (checkpoint / name).read_bytes()
        assert (again / name).read_bytes() == content, name
        assert str(tmp_path).encode() not in content, name


def test_a_loaded_checkpoint_saves_to_the_same_bytes(tmp_path: Path, checkpoint: Path):
    """A round that is passed through must not look like a new model."""
    model, tokenizer = load(checkpoint), load_tokenizer(checkpoint)
    save(model, tokenizer, tmp_path / "copy", card={"stage": "prune@r1"}, check_reload=False)
    assert read_card(tmp_path / "copy") == read_card(checkpoint)


def test_the_package_loads_it(checkpoint: Path, cut_model):
    assert torch.equal(logits_of(secateur.load(checkpoint)), logits_of(cut_model))


def test_the_card_names_every_other_file(checkpoint: Path, cut_model):
    card = read_card(checkpoint)
    assert set(card["files"]) == {file.name for file in checkpoint.iterdir()} - {"card.json"}
    assert card["weights_sha256"] == digest_weights(cut_model.state_dict())
    assert card["stage"] == "prune@r1"
    verify(checkpoint)


def test_equal_weights_have_equal_digests_whatever_their_order_and_layout():
    matrix = torch.arange(6.0).reshape(2, 3)
    same = {"b": torch.ones(1), "a": matrix.T.contiguous().T}
    assert digest_weights({"a": matrix, "b": torch.ones(1)}) == digest_weights(same)
    assert digest_weights({"a": matrix}) != digest_weights({"a": matrix.reshape(3, 2)})
    assert digest_weights({"a": matrix}) != digest_weights({"a": matrix.double()})
    assert digest_weights({"a": matrix}) != digest_weights({"c": matrix})


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_tampered_file_is_named(checkpoint: Path, name):
    content = bytearray((checkpoint / name).read_bytes())
    content[len(content) // 2] ^= 1
    (checkpoint / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name} differs from its digest in card.json"):
        load(checkpoint)


def test_a_missing_file_is_named(checkpoint: Path):
    (checkpoint / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer.json is missing, card.json lists it"):
        load(checkpoint)


def test_truncated_weights_are_refused_with_and_without_digests(checkpoint: Path):
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="differs from its digest"):
        load(checkpoint)
    with pytest.raises(CheckpointError, match=r"model.safetensors is damaged: [^\n]*$"):
        load(checkpoint, verify=False)


def test_what_is_no_checkpoint(tmp_path: Path, cut_model):
    with pytest.raises(CheckpointError, match="missing does not exist"):
        load(tmp_path / "missing")
    with pytest.raises(CheckpointError, match=r"holds no model: it has no config\.json; a checkpoint is a folder"):
        load(tmp_path)
    cut_model.config.per_layer_config = None
    cut_model.config.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors \(other formats are not read\)"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"files": 3}'])
def test_a_broken_card(checkpoint: Path, text):
    (checkpoint / "card.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"card\.json"):
        load(checkpoint)


@pytest.mark.parametrize("config", [GPTNeoConfig(), T5Config()])
def test_a_foreign_architecture(checkpoint: Path, config):
    config.save_pretrained(checkpoint)
    sign(checkpoint)
    why = "is not supported" if config.model_type == "gpt_neo" else "is an encoder with a decoder"
    with pytest.raises(ModelError, match=f"model_type '{config.model_type}' {why}.*; supported: bert"):
        load(checkpoint)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda config: config.pop("model_type"), "no model_type can be read"),
        (lambda config: config.update(num_attention_heads="many"), r"config.json cannot be used"),
        (lambda config: config["per_layer_config"].update({"7": {"intermediate_size": 3}}), "cannot be used"),
        (
            lambda config: config["per_layer_config"]["0"].update(intermediate_size=23),
            r"model.safetensors does not fit config.json: bert.encoder.layer.0.intermediate.dense.weight has shape "
            r"\(\d+, 32\), the config asks for \(23, 32\)",
        ),
        (lambda config: config.pop("per_layer_config"), "does not fit config.json"),
        (lambda config: config.update(num_hidden_layers=4), r"it lacks bert.encoder.layer.3.*missing"),
    ],
)
def test_a_config_that_does_not_fit(checkpoint: Path, edit, message):
    config = json.loads((checkpoint / "config.json").read_text())
    edit(config)
    (checkpoint / "config.json").write_text(json.dumps(config))
    sign(checkpoint)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(checkpoint)
    assert "\n" not in str(caught.value)


def test_a_tensor_too_many(checkpoint: Path):
    file = checkpoint / "model.safetensors"
    safetensors.torch.save_file({**safetensors.torch.load_file(file), "extra": torch.ones(1)}, file)
    sign(checkpoint)
    with pytest.raises(CheckpointError, match="extra is not part of the model"):
        load(checkpoint)


def test_a_folder_in_use_is_not_written_into(checkpoint: Path, cut_model):
    with pytest.raises(CheckpointError, match="is not empty"):
        save(cut_model, None, checkpoint, card={}, check_reload=False)


def test_a_folder_without_tokenizer(tmp_path: Path, cut_model):
    save(cut_model, None, tmp_path / "model", card={}, check_reload=False)
    with pytest.raises(CheckpointError, match="holds no tokenizer"):
        load_tokenizer(tmp_path / "model")


def test_loading_follows_no_later_change_of_the_file(checkpoint: Path, cut_model):
    """The tensors live in torch's own memory, not in a map of the file."""
    model = load(checkpoint)
    with (checkpoint / "model.safetensors").open("r+b") as file:
        file.seek(2000)
        file.write(b"\xff" * 4000)
    assert torch.equal(logits_of(model), logits_of(cut_model))


def test_the_library_cannot_load_a_cut_model_by_mistake(checkpoint: Path):
    """If this starts to work, our loader can go."""
    with pytest.raises(Exception, match="per-layer attribute"):
        AutoModelForSequenceClassification.from_pretrained(checkpoint)


def test_a_summary(checkpoint: Path, cut_model):
    summary = describe(checkpoint)
    widths = widths_of(cut_model)
    assert [layer["heads"] for layer in summary["layers"]] == list(widths.heads)
    assert [layer["ffn"] for layer in summary["layers"]] == list(widths.ffn)
    assert {layer["dense_ffn"] for layer in summary["layers"]} == {24}
    assert summary["labels"] == LABELS
    assert (summary["head_dim"], summary["hidden_size"], summary["vocab_size"]) == (8, 32, 60)
    assert summary["params"] == sum(parameter.numel() for parameter in cut_model.parameters())
    json.dumps(summary)
