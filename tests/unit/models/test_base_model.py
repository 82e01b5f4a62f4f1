import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from secateur.errors import CheckpointError, ModelError, SecateurError
from secateur.models.base_model import load_finished
from secateur.models.checkpoint import load, load_base, save
from secateur.models.hidden import cut_hidden_
from secateur.models.surgery import cut_
from tests.tiny_models import LABELS, logits_of, some_masks, tiny_config, tiny_model


@pytest.fixture
def base(tmp_path: Path) -> Path:
    tiny_model().base_model.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def test_a_fresh_head_comes_without_a_word(base: Path, capfd, caplog):
    load_base(base, labels=LABELS)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_a_classifier_keeps_its_head_when_the_labels_fit(tmp_path: Path):
    model = tiny_model()
    model.save_pretrained(tmp_path / "classifier")
    assert torch.equal(logits_of(load_base(tmp_path / "classifier", labels=LABELS)), logits_of(model))


def test_a_head_of_another_size_is_not_silently_replaced(tmp_path: Path):
    tiny_model().save_pretrained(tmp_path / "classifier")
    with pytest.raises(
        ModelError, match=r"safetensors does not fit: classifier\.bias has shape \(3,\), and \(2,\)"
    ) as caught:
        load_base(tmp_path / "classifier", labels=["no", "yes"])
    assert "\n" not in str(caught.value)


def test_a_decoder_without_classifiers_in_transformers_is_told_before_anything_is_read(tmp_path: Path):
    tiny_config("granite").save_pretrained(tmp_path / "base")
    with pytest.raises(ModelError, match="transformers has no classifier of granite models, which continue texts"):
        load_base(tmp_path / "base", labels=LABELS)


def test_a_pruned_model_is_no_base(tmp_path: Path):
    model = tiny_model()
    cut_(model, some_masks(model))
    save(model, None, tmp_path / "cut", card={}, check_reload=False)
    with pytest.raises(ModelError, match="is already pruned; a baseline starts from a dense model"):
        load_base(tmp_path / "cut", labels=LABELS)


def test_a_model_with_a_cut_hidden_size_is_no_base(tmp_path: Path):
    model = tiny_model()
    cut_hidden_(model, torch.arange(32) < 27)
    save(model, None, tmp_path / "cut", card={}, check_reload=False)
    with pytest.raises(ModelError, match="is already pruned; a baseline starts from a dense model"):
        load_base(tmp_path / "cut", labels=LABELS)


def test_a_finished_classifier_comes_with_its_head_and_its_labels(tmp_path: Path):
    model = tiny_model()
    model.save_pretrained(tmp_path / "classifier")
    loaded = load_finished(tmp_path / "classifier")
    assert torch.equal(logits_of(loaded), logits_of(model))
    assert list(loaded.config.id2label.values()) == LABELS


def test_an_encoder_alone_is_an_embedding_model_and_one_for_tokens_is_none(base: Path):
    assert load_finished(base).config.embedding_pooling == "mean"
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"architectures": ["BertForMaskedLM"]}))
    with pytest.raises(
        ModelError, match=r"holds a BertForMaskedLM; of bert models, \.\.\.ForSequenceClassification and"
    ):
        load_finished(base)


def test_pickled_weights_are_not_read(base: Path):
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"has no model.safetensors \(pickled weights are not read\)"):
        load_base(base, labels=LABELS)


def test_missing_pretrained_tensors_are_not_silently_drawn(base: Path):
    tensors = safetensors.torch.load_file(base / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    safetensors.torch.save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 pretrained tensors, the first is .*encoder.layer.1.output.dense"):
        load_base(base, labels=LABELS)


def test_truncated_weights(base: Path):
    file = base / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        load_base(base, labels=LABELS)


def test_an_empty_folder(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"holds no model: it has no config\.json"):
        load_base(tmp_path, labels=LABELS)


def test_scratch_follows_the_seed(tmp_path: Path):
    tiny_config().save_pretrained(tmp_path)
    models = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        models.append(logits_of(load_base(tmp_path, labels=LABELS, scratch=True)))
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])


@pytest.mark.parametrize("cuts", [False, True])
@pytest.mark.parametrize("prefix", ["module", "_orig_mod"])
def test_weights_of_a_model_inside_another_are_told(cuts: bool, prefix: str, tmp_path: Path):
    model = tiny_model()
    if cuts:
        cut_(model, some_masks(model))
    model.save_pretrained(tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    inside = {f"{prefix}.{name}": tensor for name, tensor in safetensors.torch.load_file(file).items()}
    safetensors.torch.save_file(inside, file, metadata={"format": "pt"})
    with pytest.raises(SecateurError, match=rf"all names begin with {prefix}\., .*: save its {prefix} by save_pret"):
        load(tmp_path / "model")


def test_a_model_with_norms_in_another_type_has_the_type_of_most_numbers(tmp_path: Path):
    model = tiny_model().to(torch.bfloat16)
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.float()
    model.save_pretrained(tmp_path / "model")
    assert {parameter.dtype for parameter in load(tmp_path / "model").parameters()} == {torch.bfloat16}


def test_what_is_stored_as_one_matrix_says_how_adapters_name_it():
    shown = repr(tiny_model("gpt2"))
    assert "target_modules=['c_attn.parts.0', 'c_attn.parts.1', 'c_attn.parts.2'] or \"all-linear\" finds them" in shown
