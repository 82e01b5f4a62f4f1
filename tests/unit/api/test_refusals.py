"""What ``secateur`` is asked in vain: one line that says what was found and what would work, and nothing is written."""

import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForMaskedLM, T5Config, T5EncoderModel

import secateur
from secateur.api.given import ready
from secateur.budget.latency_table import LatencyTable, shape_of
from tests.tiny_models import tiny_config, tiny_generator, tiny_model, tiny_tokenizer
from tests.unit.pruning.prune_settings import prune_settings

ASKED: dict[str, Any] = {"budget": {"macs": 0.5}, "settings": {"ffn_multiple": 4}}
MODEL = tiny_model("bert")


def batch(**changes: Any) -> dict[str, Any]:
    """Return a batch of four rows; a change of None takes the entry away."""
    ids = torch.arange(5, 37).reshape(4, 8)
    whole = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.tensor([0, 1, 2, 0])} | changes
    return {name: value for name, value in whole.items() if value is not None}


def refusal(kind: type[secateur.SecateurError], *arguments: Any, **options: Any) -> str:
    before, deterministic = torch.get_rng_state(), torch.are_deterministic_algorithms_enabled()
    with pytest.raises(kind) as caught:
        secateur.prune(*arguments, **{**ASKED, **options})
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.are_deterministic_algorithms_enabled() == deterministic, "left as it was"
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def own(output: Any, given: Any) -> torch.Tensor:
    return cross_entropy(output.logits, torch.zeros(len(output.logits), dtype=torch.int64))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "there is no batch"),
        (7, "batches are an iterable of mappings, found a int"),
        ("rows.csv", "data is a str; a list of batches, or of rows and a tokenizer"),
        (batch(), "data is a dict; a list of batches"),
        (["a text"], "batch 1 is a str; a mapping of names to tensors"),
        ([batch(), batch(input_ids=None)], "batch 2 needs input_ids, integers of (rows, tokens); found none in"),
        ([batch(input_ids=torch.rand(4, 8))], "found none of (4, 8) torch.float32"),
        ([batch(input_ids=torch.zeros(0, 8, dtype=torch.int64))], "found none of (0, 8)"),
        ([batch(attention_mask=torch.ones(4, 7))], "attention_mask is 1 on tokens and 0 on padding, of (4, 8)"),
        ([batch(attention_mask=torch.zeros(4, 8))], "batch 1 has a row without any token"),
        ([batch(labels=None)], "batch 1 has no labels, and no loss is given; labels of (4,), or loss=..., would work"),
        ([batch(labels=torch.zeros(4))], "takes labels of (4,), integers; found (4,) torch.float32"),
        ([batch(labels=torch.zeros(4, 8).long())], "takes labels of (4,), integers; found (4, 8) torch.int64"),
        ([batch(labels=torch.tensor([0, 1, 3, 0]))], "batch 1 has label 3; the model knows 0 to 2"),
        ([batch(labels=[0, 1, 2, 0])], "found list"),
        ([batch(input_ids=-torch.ones(4, 8).long())], "batch 1 has a token id below 0"),
        ([batch(input_ids=torch.ones(4, 41).long(), attention_mask=None)], "41 tokens per row, and the model reads 40"),
    ],
)
def test_batches_that_do_not_serve(data: Any, message: str) -> None:
    assert message in refusal(secateur.DataError, MODEL, data)


def test_ids_that_the_model_does_not_know() -> None:
    assert "the id 60, and the model has embeddings for 60" in refusal(
        secateur.ModelError, MODEL, [batch(input_ids=torch.full((4, 8), 60))]
    )


def test_a_generator_without_anything_to_predict() -> None:
    nothing = batch(labels=torch.full((4, 8), -100))
    message = refusal(secateur.DataError, tiny_generator("llama"), [nothing])
    assert "batch 1 has no token to predict" in message


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "there is no row"),
        ([("good", "negative"), "bad"], "row 2 is 'bad'; (text, label) or {'text': ..., 'label': ...} would work"),
        ([{"body": "good"}], "row 1 is"),
        ([("good", "angry")], "row 1 has label 'angry'; the model knows negative, neutral, positive, or 0 to 2"),
        ([("good", 3)], "row 1 has label 3; the model knows negative"),
        ([("good", True)], "row 1 has label True"),
    ],
)
def test_rows_that_do_not_serve(rows: Any, message: str) -> None:
    assert message in refusal(secateur.DataError, MODEL, rows, tokenizer=tiny_tokenizer())


def test_texts_that_are_cut_are_told(caplog: pytest.LogCaptureFixture) -> None:
    rows = [("good " * 9, 0), ("bad", 1), ("day", 2), ("train", 0)]
    with caplog.at_level(logging.WARNING):
        secateur.prune(MODEL, rows, tokenizer=tiny_tokenizer(), max_length=8, criterion="magnitude", **ASKED)
    assert "1 of 4 texts have 8 tokens or more and were cut there (max_length)" in caplog.text


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda output, given: output.logits.sum() * math.nan, "the loss of batch 1 is nan; check the labels"),
        (lambda output, given: output.logits.sum(dim=1), "the loss of batch 1 is a tensor of (4,); a scalar tensor"),
        (lambda output, given: 3.0, "the loss of batch 1 is a float; a scalar tensor"),
        (lambda output, given: output.logits.detach().sum(), "the loss of batch 1 has no gradient"),
    ],
)
def test_losses_that_do_not_serve(loss: Any, message: str) -> None:
    assert message in refusal(secateur.ModelError, MODEL, [batch(labels=None)], loss=loss)


def test_what_a_loss_raises_itself_is_passed_on() -> None:
    with pytest.raises(KeyError, match="weights"):
        secateur.prune(MODEL, [batch()], loss=lambda output, given: given["weights"], **ASKED)


def test_models_that_are_not_supported() -> None:
    masked = AutoModelForMaskedLM.from_config(tiny_config("bert"))
    assert "memory holds a BertForMaskedLM; of bert models" in refusal(secateur.ModelError, masked, [batch()])
    strange = T5EncoderModel(T5Config(d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2, vocab_size=60))
    message = refusal(secateur.ModelError, strange, [batch()])
    assert "model_type 't5' is an encoder with a decoder that attends to it" in message
    assert "supported: bert, " in message
    broken = tiny_model("bert")
    with torch.no_grad():
        broken.get_parameter("bert.embeddings.word_embeddings.weight")[3, 2] = math.inf
    message = refusal(secateur.ModelError, broken, [batch()])
    assert "BertForSequenceClassification: bert.embeddings.word_embeddings.weight holds NaN or infinity" in message


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"budget": {"macs": 1.5}}, secateur.ConfigError, "budget.macs: input should be less than or equal to 1"),
        ({"budget": {"macs": "half"}}, secateur.ConfigError, "budget.macs: input should be a valid number"),
        ({"budget": {}}, secateur.ConfigError, "exactly one of"),
        ({"budget": {"macs": 0.5, "params": 0.5}}, secateur.ConfigError, "exactly one of"),
        ({"budget": {"flops": 0.5}}, secateur.ConfigError, "flops"),
        ({"budget": 0.5}, secateur.ConfigError, "budget=0.5: expected a mapping, e.g. {'macs': 0.5}"),
        ({"budget": {"max_drop": 0.1}}, secateur.ConfigError, "the scale of your own loss is not known; macs, params"),
        ({"budget": {"macs": 0.5, "table": 3}}, secateur.ConfigError, "a table is one of secateur.latency_table"),
        (
            {"settings": {"min_heads": 1, "min_neurons": 8, "ffn_multiple": 4}, "budget": {"macs": 0.001}},
            secateur.BudgetError,
            "budget.macs=0.001 is not reachable",
        ),
        ({"criterion": "luck"}, secateur.ConfigError, "'luck' is no criterion; known: magnitude, gradient"),
        (
            {"epochs": -1.0},
            secateur.ConfigError,
            "recovery.epochs: input should be greater than or equal to 0, or 'auto' (found -1.0)",
        ),
        ({"seed": -1}, secateur.ConfigError, "seed=-1: an integer from 0 to 4294967295 would work"),
        ({"settings": {"nothing": 1}}, secateur.ConfigError, "nothing is not a known parameter"),
        ({"settings": {"max_drop": 0.1}}, secateur.ConfigError, "max_drop has no place here: nothing is rolled back"),
        ({"settings": {"schedule.tries": 2}}, secateur.ConfigError, "schedule.tries has no place here: one cut"),
        ({"settings": {"budget.macs": 0.2}}, secateur.ConfigError, "budget.macs has no place here: it is an argument"),
        ({"settings": {"recovery.epochs": 1}}, secateur.ConfigError, "recovery.epochs has no place here"),
        ({"settings": {"num_layers": 7}}, secateur.ModelError, "num_layers=7 is more than the model has (3 layers)"),
    ],
)
def test_arguments_that_make_no_sense(
    options: dict[str, Any], kind: type[secateur.SecateurError], message: str
) -> None:
    assert message in refusal(kind, MODEL, [batch()], **options)


def table(model: Any, **changes: Any) -> LatencyTable:
    settings = prune_settings().latency.model_copy(update=changes)
    return LatencyTable(
        attention_ms=(0.0, 0.3, 0.6, 0.8, 1.0),
        ffn_widths=(0, 8, 16, 24),
        ffn_ms=(0.0, 0.5, 1.0, 1.2),
        fixed_ms=0.1,
        dense_ms=6.7,
        settings=settings,
        shape=shape_of(model.config),
        machine={},
    )


def test_a_table_of_another_model_is_refused_and_one_that_fits_is_used() -> None:
    other = tiny_model("distilbert")
    message = refusal(secateur.BudgetError, MODEL, [batch()], budget={"latency": 0.5, "table": table(other)})
    assert "secateur.latency_table(model) measures one that fits" in message
    fitting = {"latency": 0.5, "table": table(MODEL, runtime="torch", length=8)}
    result = secateur.prune(MODEL, [batch()], criterion="magnitude", **{**ASKED, "budget": fitting})
    assert 0.2 < result.achieved["latency"] <= 0.5
    message = refusal(secateur.ModelError, result.model, [batch()], budget={"latency": 0.5})
    assert "a budget of latency starts from a dense model, and this one was pruned before" in message


def test_folders_are_never_written_over_and_targets_exist(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for call in (secateur.save, secateur.export):
        with pytest.raises(secateur.CheckpointError, match="exists already; name a new folder"):
            call(MODEL, tmp_path / "there")
    for options, message in (
        ({"to": "gguf"}, "to='gguf': onnx or padded or numpy would work"),
        ({"int8": True, "to": "padded"}, "int8 goes with"),
    ):
        with pytest.raises(secateur.ConfigError, match=message):
            secateur.export(MODEL, tmp_path / "new", **options)
    with pytest.raises(secateur.ModelError, match=r"found a builtins\.dict"):
        secateur.save({}, tmp_path / "new")
    with pytest.raises(secateur.CheckpointError, match="does not exist"):
        secateur.export(tmp_path / "nowhere", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_what_cannot_be_timed() -> None:
    with pytest.raises(secateur.ConfigError, match="there is no model to time"):
        secateur.bench([])
    with pytest.raises(secateur.ConfigError, match="runtime"):
        secateur.bench([MODEL], runtimes=["cobol"])
    with pytest.raises(secateur.ConfigError, match="batch"):
        secateur.latency_table(MODEL, batch=0)
    with pytest.raises(secateur.ModelError, match=r"more than .* can read"):
        secateur.bench({"tiny": MODEL}, length=41, runtimes=["torch"])


def test_models_are_timed_by_name() -> None:
    found = secateur.bench({"dense": MODEL, "same": MODEL}, runtimes=["torch"], length=8, repeats=3)
    assert [str(row.checkpoint) for row in found] == ["dense", "same"]
    assert found[0].speedup == 1.0


@pytest.mark.parametrize(("model_type", "told"), [("bert", True), ("gpt2", False)])
def test_padding_on_the_left_is_told_where_padding_is_read(
    model_type: str, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A decoder reads its last token, wherever that stands."""
    batch = {
        "input_ids": torch.tensor([[0, 5, 6], [5, 6, 7]]),
        "attention_mask": torch.tensor([[0, 1, 1], [1, 1, 1]]),
        "labels": torch.tensor([0, 1]),
    }
    with caplog.at_level(logging.WARNING):
        ready([batch], tiny_model(model_type), loss=None)
    assert ("batch 1 is padded on the left, and a BertForSequenceClassification reads the first" in caplog.text) is told
