"""Programs that know transformers alone read pruned folders: auto classes, pipelines, and what loads a base."""

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    pipeline,
)

import secateur
from secateur.models.checkpoint import save
from secateur.models.pooling import Embedders
from secateur.models.surgery import cut_, widths_of
from tests.tiny_models import LABELS, logits_of, some_masks, spread, tiny_config, tiny_generator, tiny_model
from tests.tiny_models import tiny_tokenizer as tokenizer

IDS = torch.arange(5, 14)[None]


def written(model: PreTrainedModel, folder: Path) -> Path:
    cut_(model, some_masks(model))
    save(model, tokenizer(), folder, card={}, check_reload=False)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tiny_model("bert"), tmp_path / "a cut")


def test_inside_it_is_read_and_afterwards_transformers_is_what_it_was(folder: Path) -> None:
    before, expected = PreTrainedModel.__dict__["from_pretrained"], logits_of(secateur.load(folder))
    with secateur.in_transformers():
        model, found = AutoModelForSequenceClassification.from_pretrained(str(folder), output_loading_info=True)
        labelled = pipeline("text-classification", model=str(folder), device="cpu")("the day is good")
    assert torch.equal(logits_of(model), expected)
    assert not any(found.values())
    assert labelled[0]["label"] in LABELS
    assert PreTrainedModel.__dict__["from_pretrained"] is before
    with pytest.raises(RuntimeError, match="per-layer attribute"):
        AutoModelForSequenceClassification.from_pretrained(folder)


def test_options_are_followed(folder: Path) -> None:
    with secateur.in_transformers():
        asked = {"output_hidden_states": True, "attn_implementation": "eager", "device_map": "auto"}
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.bfloat16, **asked)
        base = AutoModel.from_pretrained(folder.parent, subfolder=folder.name, dtype="float16")
        named = AutoModelForSequenceClassification.from_pretrained(folder, id2label={0: "a", 1: "b", 2: "c"})
    assert (model.dtype, model.config._attn_implementation) == (torch.bfloat16, "eager")
    assert len(model(IDS).hidden_states) == 4
    assert (type(base).__name__, base.dtype) == ("BertModel", torch.float16)
    assert named.config.id2label[1] == "b"


@pytest.mark.parametrize(
    ("auto", "options", "message"),
    [
        (AutoModelForMaskedLM, {}, "holds a BertForSequenceClassification, asked for a BertForMaskedLM; BertForSeq"),
        (AutoModelForSequenceClassification, {"num_labels": 5}, "has 3 labels, asked for 5; as many would work"),
        (AutoModelForSequenceClassification, {"device_map": {"a": 0, "b": 1}}, "on one device; device_map="),
        (AutoModelForSequenceClassification, {"tp_plan": "auto"}, "tp_plan='auto' needs layers as transformers builds"),
    ],
)
def test_what_needs_plain_layers_is_refused(folder: Path, auto: type, options: dict[str, object], message: str) -> None:
    with secateur.in_transformers(), pytest.raises(secateur.ModelError, match=message):
        auto.from_pretrained(folder, **options)


def test_other_models_are_read_as_before(tmp_path: Path) -> None:
    dense = tiny_model("bert")
    dense.save_pretrained(tmp_path / "dense")
    with secateur.in_transformers():
        loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "dense", num_labels=3)
        with pytest.raises(OSError, match="no-such-folder"):
            AutoModel.from_pretrained(tmp_path / "no-such-folder")
    assert torch.equal(logits_of(loaded), logits_of(dense))


def test_generators_write_and_embedding_models_give_their_states(tmp_path: Path) -> None:
    writer = written(tiny_generator("gpt2"), tmp_path / "writer")
    torch.manual_seed(0)
    embedder = spread(Embedders.from_config(tiny_config("bert")))
    embedder.config.architectures = ["BertModel"]
    written(embedder, tmp_path / "embedder")
    with secateur.in_transformers():
        model = AutoModelForCausalLM.from_pretrained(writer)
        states = AutoModel.from_pretrained(tmp_path / "embedder")
    assert model.generate(IDS, max_new_tokens=3, do_sample=False).shape == (1, 12)
    assert states(IDS).last_hidden_state.shape == (1, 9, 32)
    assert widths_of(states) == widths_of(secateur.load(tmp_path / "embedder"))
