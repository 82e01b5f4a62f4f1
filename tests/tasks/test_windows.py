"""Texts whose middle says what they are: a model that reads windows learns it, and all its forms answer the same."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from secateur.api.given import ready
from secateur.data.tokens import read_tokens
from secateur.errors import DataError
from secateur.files import write_json
from secateur.formats.onnx import export_onnx
from secateur.formats.padded import export_padded
from secateur.inference.prediction import Predictor
from secateur.kinds.registry import kind_named
from secateur.models.card import Card
from secateur.models.checkpoint import load, load_tokenizer
from secateur.workflow.remarks import remarks
from tests.integration.in_process import output
from tests.tasks.stage_chain import BASELINE, PRUNE, TEXT_RULES, run_baseline, run_evaluate, run_round, write_inputs
from tests.tiny import REPOSITORY, sentences

FILLING = ["river", "stone"] * 8


def write_long_inputs(root):
    """Sixteen times the same, then the words of a sentence but for its number, and as many again; few are short."""
    write_inputs(root)
    for seed, (table, count) in enumerate({"train": 96, "validation": 40, "test": 40}.items()):
        rows = [(text.split()[:-1], label) for text, label in sentences(count, seed=seed)]
        texts = [" ".join(words if i % 10 == 0 else [*FILLING, *words, *FILLING]) for i, (words, _) in enumerate(rows)]
        labels = [int(label == "positive") for _, label in rows]
        pq.write_table(pa.table({"text": texts, "label": labels, "row": range(count)}), root / f"{table}.parquet")
    write_json(root / "text_rules.json", {**TEXT_RULES, "max_chars": 1000})
    write_json(root / "reports/data.json", {"rows": {"train": 96}})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("windows")
    write_long_inputs(root)
    run_baseline(root, settings=BASELINE.model_copy(update={"long_texts": "windows", "epochs": 12}))
    run_round(root, "r1", "baseline", settings=PRUNE.model_copy(update={"vocabulary_min_count": 1}))
    run_evaluate(root, "baseline", "r1")
    return root


@pytest.mark.parametrize("ends", ["head", "head_tail"])
def test_the_middle_is_learned_from_by_windows_alone(finished, tmp_path, ends):
    write_long_inputs(tmp_path)
    run_baseline(tmp_path, settings=BASELINE.model_copy(update={"long_texts": ends, "epochs": 12}))
    blind, seeing = (Card.read(root / "models/baseline") for root in (tmp_path, finished))
    assert blind.metrics["validation_macro_f1"] < 0.7 < 0.9 < seeing.metrics["validation_macro_f1"]
    assert (seeing.long_texts, seeing.max_windows, seeing.cut_texts) == ("windows", 8, 0)
    assert seeing.windowed == {"texts": 86, "windows": 344, "most": 4}


def test_every_form_of_a_pruned_model_says_what_was_scored(finished, tmp_path):
    pruned, columns = finished / "models/r1", pq.read_table(finished / "test.parquet").to_pydict()
    assert len(load_tokenizer(pruned)) < len(load_tokenizer(finished / "models/baseline"))
    names = json.loads((finished / "labels.json").read_text(encoding="utf-8"))
    scored = json.loads((finished / "metrics.json").read_text(encoding="utf-8"))["rounds"]["r1"]
    assert scored["accuracy"] > 0.8 and scored["deployed_macro_f1"] == pytest.approx(scored["macro_f1"], abs=1e-9)
    export_onnx(pruned, tmp_path / "onnx")
    forms = (pruned, tmp_path / "onnx", export_padded(pruned, tmp_path / "padded"))
    answers = [Predictor.load(folder).predict(columns["text"]) for folder in forms]
    for said in answers:
        right = [one.label == names[label] for one, label in zip(said, columns["label"], strict=True)]
        assert sum(right) / len(right) == pytest.approx(scored["accuracy"], abs=1e-9)
        assert [one.windows for one in said[:2]] == [1, 4] and not any(one.cut for one in said)
        assert [one.score for one in said] == pytest.approx([one.score for one in answers[0]], abs=1e-4)


def test_the_recipe_for_people_without_secateur_gives_the_same_answer(finished, tmp_path):
    export_onnx(finished / "models/r1", tmp_path / "exported")
    page = (REPOSITORY / "docs/howto/own-data.md").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"### Windows\n.*?```python\n(.*?)```", page, flags=re.DOTALL)
    texts = pq.read_table(finished / "test.parquet")["text"].to_pylist()[:2]
    for text, said in zip(texts, Predictor.load(tmp_path / "exported").predict(texts), strict=True):
        given = recipe.replace('"exported", "a long text"', repr((str(tmp_path / "exported"), text)))
        found = {}
        exec(given, found)
        assert len(found["windows"]) == said.windows
        odds = np.exp(found["logits"] - found["logits"].max())
        assert list(said.scores.values()) == pytest.approx(odds / odds.sum(), abs=1e-6)


def test_an_int8_graph_reads_the_windows_of_a_text_one_by_one(finished, tmp_path):
    """Its scale of activations is that of a call, so that a text's answer may not hang on its company."""
    export_onnx(finished / "models/r1", tmp_path / "int8", int8=True)
    texts = pq.read_table(finished / "test.parquet")["text"].to_pylist()[:6]
    predictor = Predictor.load(tmp_path / "int8")
    assert predictor.predict(texts) == [predictor.predict([text])[0] for text in texts]


def test_what_is_read_in_windows_is_told(finished):
    (said,) = [line for line in remarks(finished, "baseline") if "windows" in line]
    assert said == (
        "86 of 96 training texts (89.6%) have more than baseline.max_length=16 tokens, and are read in windows: 4.0 on "
        "average, 4 at most"
    )
    details = json.loads((finished / "details.json").read_text(encoding="utf-8"))
    assert details["windows"] == {
        "tokens": 16, "limit": 8, "texts": 36, "windows": 144, "most": 4, "unread": 0,
    }  # fmt: skip


def test_what_windows_leave_out_is_told(tmp_path):
    write_long_inputs(tmp_path)
    run_baseline(
        tmp_path, settings=BASELINE.model_copy(update={"long_texts": "windows", "max_windows": 2, "epochs": 1})
    )
    card = Card.read(tmp_path / "models/baseline")
    assert (card.max_windows, card.cut_texts, card.windowed["most"]) == (2, 86, 2)
    told = remarks(tmp_path, "baseline")[0]
    assert told.endswith("2 at most; of 86 something between two of baseline.max_windows=2 is not read")


def test_the_dense_logits_that_rounds_learn_from_are_those_of_the_rows(finished):
    rows = read_tokens(finished / "tokens/train.arrow")
    kept = load_file(finished / "tokens/dense_logits.safetensors")["logits"]
    model, ids = load(finished / "models/baseline"), rows.windows.of(rows.ids(1).astype(np.int64))
    with torch.no_grad():
        said = torch.cat([model(input_ids=torch.from_numpy(piece)[None]).logits for piece in ids]).mean(dim=0)
    assert len(kept) == len(rows) == 96
    torch.testing.assert_close(kept[1], said, rtol=0, atol=1e-4)


def test_commands_on_a_finished_model_read_its_windows(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("secateur.models.checkpoint.run_reload_check", lambda *_: None)
    names = json.loads((finished / "labels.json").read_text(encoding="utf-8"))
    for part in ("train", "test"):
        rows = pq.read_table(finished / f"{part}.parquet").to_pylist()
        lines = [f"{row['text']},{names[row['label']]}" for row in rows]
        (tmp_path / f"{part}.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    model, dense = finished / "models/baseline", Card.read(finished / "models/baseline")
    long = (
        "36 of 40 texts (90.0%) have more than the 16 tokens that the model reads at once, and were read in 4.0 windows"
    )
    scored = json.loads(output(tmp_path, "evaluate", model, "--data", "test.csv", "--json"))
    metrics = json.loads((finished / "metrics.json").read_text(encoding="utf-8"))["baseline"]
    assert scored["scores"]["macro_f1"]["value"] == pytest.approx(metrics["macro_f1"], abs=1e-9)
    assert (scored["cut"], scored["long"], scored["windows"]) == (0, 36, 144)
    told = json.loads(output(tmp_path, "predict", model, "--data", "test.csv", "--out", "said.csv", "--json"))
    assert told["remarks"] == [f"{long} on average"] and (told["long"], told["windows"]) == (36, 144)
    quick = ("-S", "calibration_rows=48", "-S", "search_trials=0", "-S", "ffn_multiple=8", "--threads", "1")
    output(tmp_path, "prune", model, "--data", "train.csv", "--out", "cut", "--macs", "0.6", *quick)
    pruned = Card.read(tmp_path / "cut")
    assert (pruned.long_texts, pruned.max_windows, pruned.max_length) == ("windows", dense.max_windows, 16)
    assert pruned.metrics["held_out_macro_f1"] > 0.8


def test_rows_for_python_are_not_read_in_halves(finished):
    folder = finished / "models/baseline"
    with pytest.raises(DataError, match=r"row 1 has more than 16 tokens \(max_length\), and the tokenizer reads such"):
        ready([("river " * 20, 0)], load(folder), loss=None, tokenizer=load_tokenizer(folder), max_length=16)


@pytest.mark.parametrize("name", ["classification", "multi_label", "regression", "ordinal"])
def test_kinds_that_answer_texts_by_windows(name):
    assert kind_named(name).reads_windows


@pytest.mark.parametrize("name", ["embedding", "generation"])
def test_kinds_that_do_not(name):
    assert not kind_named(name).reads_windows
