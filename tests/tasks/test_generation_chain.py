"""``baseline`` and ``prune`` of generators, and a generator that becomes a classifier."""

import csv
import math
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from secateur.data.tokens import read_tokens
from secateur.errors import ConfigError, ModelError
from secateur.models.checkpoint import load, load_tokenizer, read_card, verify
from secateur.models.vocabulary import Remapping, remap
from secateur.training.prepared_rows import read_prepared_rows
from secateur.training.validation import validate
from tests.tasks.generation_chain import (
    LABELS,
    PRUNE_TEXT,
    RUN,
    baseline_section,
    write_inputs,
    write_texts,
)
from tests.tasks.stage_chain import run_baseline, run_round


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("generation")
    write_inputs(root)
    run_baseline(root, settings=baseline_section(), run=RUN)
    run_round(root, "r1", "baseline", settings=PRUNE_TEXT, run=RUN)
    return root


def bits(root) -> dict[str, bytes]:
    files = [*root.glob("models/*/*"), *root.glob("tokens/*"), *root.glob("*.csv")]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def started_from(root, finished, **options) -> None:
    """Write the inputs of a baseline that starts from the finished generator."""
    write_inputs(root, **options)
    shutil.rmtree(root / "base")
    shutil.copytree(finished / "models/baseline", root / "base")
    (root / "base" / "provenance.json").write_text('{"kind": "file"}')


def test_a_generator_from_nothing_learns_and_its_card_says_how_well(finished):
    verify(finished / "models/baseline")
    card, model = read_card(finished / "models/baseline"), load(finished / "models/baseline")
    assert (card["task"], card["labels"]) == ("generation", LABELS)
    assert card["control"] == {"neg": "<|neg|>", "pos": "<|pos|>"}
    scores = validate(model, read_prepared_rows(finished / "tokens").validation, batch_size=8, precision="fp32")
    assert card["metrics"] == pytest.approx(scores.as_metrics(), rel=1e-5)
    assert scores.quality < 6.0  # 30 characters stand in the texts, and most of them follow from those before
    assert model.config.vocab_size == len(load_tokenizer(finished / "models/baseline"))
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_the_curve_has_the_columns_of_a_generator(finished):
    with (finished / "baseline.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = ["step", "epoch", "train_loss", "learning_rate", "validation_loss", "validation_perplexity"]
    assert list(rows[0]) == columns
    assert float(rows[-1]["validation_perplexity"]) == pytest.approx(math.exp(float(rows[-1]["validation_loss"])))
    best = min(float(row["validation_perplexity"]) for row in rows)
    assert best == read_card(finished / "models/baseline")["metrics"]["validation_perplexity"]


def test_training_blocks_are_full_and_validation_rows_are_texts(finished):
    prepared, tokenizer = read_prepared_rows(finished / "tokens"), load_tokenizer(finished / "models/baseline")
    assert prepared.dense_logits is None
    assert set(prepared.train.lengths[:-1].tolist()) == {24}
    begin, negative, positive = tokenizer.convert_tokens_to_ids(["<s>", "<|neg|>", "<|pos|>"])
    assert prepared.train.given == prepared.validation.given == tuple(sorted((begin, negative, positive)))
    assert len(prepared.validation) == 20
    assert prepared.validation.ids(1)[:2].tolist() == [begin, positive]
    assert prepared.validation.ids(1)[-1] == tokenizer.eos_token_id


def test_the_control_token_decides_how_a_text_begins(tmp_path):
    """Each label has first words of its own, and nothing but the control token stands before them."""
    words, draw = ("差坏贵", "好美佳"), random.Random(0)
    write_inputs(tmp_path)
    for table, count in {"train": 60, "validation": 20}.items():
        labels = [number % 2 for number in range(count)]
        write_texts(tmp_path / f"{table}.parquet", [(f"{draw.choice(words[label])}酒店。", label) for label in labels])
    run_baseline(tmp_path, settings=baseline_section(epochs=24), run=RUN)
    model, tokenizer = load(tmp_path / "models/baseline"), load_tokenizer(tmp_path / "models/baseline")
    for label, name in enumerate(LABELS):
        begun = torch.tensor([tokenizer.convert_tokens_to_ids(["<s>", f"<|{name}|>"])])
        with torch.no_grad():
            chances = model(input_ids=begun).logits[0, -1].softmax(dim=-1)
        own, other = (
            float(chances[tokenizer.convert_tokens_to_ids(list(words[which]))].sum()) for which in (label, 1 - label)
        )
        assert own > 0.8, name
        assert other < 0.1, name


def test_a_round_narrows_the_generator_and_is_judged_by_its_perplexity(finished):
    card = read_card(finished / "models/r1")
    assert card["accepted"] is True
    assert card["achieved"]["macs"] < 0.8
    assert set(card["metrics"]) == {"validation_loss", "validation_perplexity"}
    assert card["control"] == {"neg": "<|neg|>", "pos": "<|pos|>"}
    ids = torch.tensor([read_prepared_rows(finished / "tokens").validation.ids(0)[:2].tolist()])
    written = load(finished / "models/r1").generate(ids, max_new_tokens=8, do_sample=False)
    assert 2 < written.shape[1] <= 10


def test_a_round_that_reads_worse_than_allowed_is_rolled_back(finished, tmp_path):
    root = tmp_path / "again"
    shutil.copytree(finished, root)
    untrained = PRUNE_TEXT.recovery.model_copy(update={"epochs": 0.0})
    strict = PRUNE_TEXT.model_copy(update={"max_drop": 0.0, "recovery": untrained})
    run_round(root, "r1", "baseline", settings=strict, run=RUN)
    card = read_card(root / "models/r1")
    assert card["accepted"] is False
    assert "r1 was rolled back: validation perplexity" in card["reason"]
    assert "is above the limit of" in card["reason"]
    run_round(root, "r2", "r1", settings=strict, run=RUN)
    columns = "step,epoch,train_loss,learning_rate,validation_loss,validation_perplexity\n"
    assert (root / "r2.csv").read_text() == columns


def test_same_inputs_same_bytes(finished, tmp_path):
    write_inputs(tmp_path)
    run_baseline(tmp_path, settings=baseline_section(), run=RUN)
    run_round(tmp_path, "r1", "baseline", settings=PRUNE_TEXT, run=RUN)
    assert bits(tmp_path) == bits(finished)


def test_a_generator_becomes_a_classifier(finished, tmp_path):
    started_from(tmp_path, finished)
    own = {"kind": "model", "vocab_size": 400, "min_count": 1}
    settings = baseline_section(model="./base", tokenizer=own, control=False, epochs=4)
    run_baseline(tmp_path, settings=settings, run=RUN.model_copy(update={"task": "classification"}))
    card = read_card(tmp_path / "models/baseline")
    assert card["metrics"]["validation_macro_f1"] > 0.9
    assert "control" not in card
    rows, tokenizer = read_tokens(tmp_path / "tokens/train.arrow"), load_tokenizer(tmp_path / "models/baseline")
    assert (rows.ids(0)[0], rows.ids(0)[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)


def test_a_pretrained_generator_learns_control_tokens(finished, tmp_path):
    started_from(tmp_path, finished, labels=["cold", "warm"])
    own = {"kind": "model", "vocab_size": 400, "min_count": 1}
    run_baseline(tmp_path, settings=baseline_section(model="./base", tokenizer=own, epochs=1), run=RUN)
    before, after = load(finished / "models/baseline"), load(tmp_path / "models/baseline")
    assert after.config.vocab_size == before.config.vocab_size + 2
    assert read_card(tmp_path / "models/baseline")["metrics"]["validation_perplexity"] < 8.0


def test_more_tokens_than_the_model_reads_are_refused(tmp_path):
    write_inputs(tmp_path)
    with pytest.raises(ModelError, match=r"baseline.max_length=64 is more than baseline.model can read \(32 tokens\)"):
        run_baseline(tmp_path, settings=baseline_section(max_length=64), run=RUN)


def test_a_vocabulary_without_room_is_refused(tmp_path):
    write_inputs(tmp_path, labels=[str(number) for number in range(50)])
    small = {"kind": "characters", "vocab_size": 300, "min_count": 1}
    with pytest.raises(ConfigError, match=r"baseline.tokenizer.vocab_size=300 has no room .* ask for 311 or more"):
        run_baseline(tmp_path, settings=baseline_section(tokenizer=small), run=RUN)


def test_a_config_that_writes_no_text_is_refused(tmp_path):
    bert = {"model_type": "bert", "hidden_size": 32, "num_attention_heads": 2, "max_position_embeddings": 32}
    write_inputs(tmp_path, config=bert)
    with pytest.raises(ModelError, match="bert models write no text"):
        run_baseline(tmp_path, settings=baseline_section(), run=RUN)


def test_a_cut_vocabulary_is_judged_per_token_of_the_dense_one(finished):
    model, rows = load(finished / "models/baseline"), read_prepared_rows(finished / "tokens").validation
    # As if the last token that occurs had gone and were spelled with two others.
    last = int(rows.values.max())
    pieces = (*((number,) for number in range(last)), (7, 8))
    table = Remapping(pieces=pieces, gone=np.arange(last + 1) == last, words=None)
    spelled = remap(rows, table)
    assert spelled.num_predicted == rows.num_predicted + int((rows.values == last).sum())
    assert spelled.spelling == spelled.num_predicted / rows.num_predicted > 1.0
    assert spelled.given == rows.given
    per_own_token = validate(model, replace(spelled, spelling=1.0), batch_size=8, precision="fp32").loss
    judged = validate(model, spelled, batch_size=8, precision="fp32").loss
    assert judged == pytest.approx(per_own_token * spelled.spelling)
