"""Texts whose end says what they are: a model that reads both ends does so in every stage and in every form."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateur.data.encoding import long_texts_of
from secateur.files import write_json
from secateur.formats.onnx import export_onnx
from secateur.formats.padded import export_padded
from secateur.inference.prediction import Predictor
from secateur.models.card import Card
from secateur.models.checkpoint import load_tokenizer
from secateur.workflow.remarks import remarks
from tests.tasks.stage_chain import BASELINE, PRUNE, TEXT_RULES, run_baseline, run_evaluate, run_round, write_inputs
from tests.tiny import sentences

BOTH_ENDS = BASELINE.model_copy(update={"long_texts": "head_tail", "epochs": 20})


def write_long_inputs(root):
    """Ten times the same two words, and then those of a sentence."""
    write_inputs(root)
    for seed, (table, count) in enumerate({"train": 96, "validation": 40, "test": 40}.items()):
        rows = [(text.split(), label) for text, label in sentences(count, seed=seed)]
        texts = [" ".join([words[-1], *["river", "stone"] * 10, *words[:-1]]) for words, _ in rows]
        labels = [int(label == "positive") for _, label in rows]
        columns = {"text": texts, "label": labels, "row": list(range(count))}
        pq.write_table(pa.table(columns), root / f"{table}.parquet")
    write_json(root / "text_rules.json", {**TEXT_RULES, "max_chars": 1000})
    counted = {"rows": {"train": 96}, "rules": [{"rule": "max_chars", "effect": "changed", "rows": 3}]}
    write_json(root / "reports/data.json", counted)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("long")
    write_long_inputs(root)
    run_baseline(root, settings=BOTH_ENDS)
    run_round(root, "r1", "baseline", settings=PRUNE.model_copy(update={"vocabulary_min_count": 1}))
    run_evaluate(root, "baseline", "r1")
    return root


def test_the_end_is_learned_from(finished, tmp_path):
    write_long_inputs(tmp_path)
    run_baseline(tmp_path)
    blind, seeing = (Card.read(root / "models/baseline") for root in (tmp_path, finished))
    assert blind.metrics["validation_macro_f1"] < 0.65 < 0.8 < seeing.metrics["validation_macro_f1"]
    assert (blind.long_texts, seeing.long_texts, seeing.cut_texts) == (None, "head_tail", 96)


def test_every_form_of_a_pruned_model_reads_what_was_scored(finished, tmp_path):
    pruned = finished / "models/r1"
    assert Card.read(pruned).long_texts == "head_tail" and long_texts_of(load_tokenizer(pruned)) == "head_tail"
    assert len(load_tokenizer(pruned)) < len(load_tokenizer(finished / "models/baseline"))
    columns = pq.read_table(finished / "test.parquet").to_pydict()
    names = json.loads((finished / "labels.json").read_text(encoding="utf-8"))
    scored = json.loads((finished / "metrics.json").read_text(encoding="utf-8"))["rounds"]["r1"]["accuracy"]
    export_onnx(pruned, tmp_path / "onnx")
    for folder in (pruned, tmp_path / "onnx", export_padded(pruned, tmp_path / "padded")):
        said = Predictor.load(folder).predict(columns["text"])
        right = [one.label == names[label] for one, label in zip(said, columns["label"], strict=True)]
        assert sum(right) / len(right) == pytest.approx(scored, abs=1e-4) and scored > 0.75
        assert all(one.cut for one in said)


def test_what_is_not_read_is_told(finished):
    told = remarks(finished, "baseline")
    assert told[:2] == (
        "96 of 96 training texts (100.0%) were cut at baseline.max_length=16 tokens: what stands between their first 5 "
        "and last 11 is not read",
        "3 texts had lost their end before that, at clean.max_chars: what baseline.long_texts=head_tail takes for "
        "their last tokens stands in their middle; a larger one keeps it",
    )
