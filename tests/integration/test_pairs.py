"""Pairs of texts from ``secateur init`` to a served champion: the second text decides, the first one distracts."""

import csv
import json
import random
import shutil
from contextlib import chdir
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import secateur as api
from secateur.errors import ModelError
from secateur.formats.padded import export_padded
from secateur.inference.prediction import Predictor
from secateur.models.checkpoint import load, load_tokenizer
from secateur.readers.pairs import as_text, num_texts, texts_in
from secateur.workflow.project import Project
from tests.integration.in_process import output, refused
from tests.tasks.serving.running import running
from tests.tiny import git, secateur, sentences, write_bert

ROWS = 200
COLUMNS = ("--text-column", "premise", "--text-column", "hypothesis")
ASKED = ("a bad and gloomy day", "this song is great")
OTHER = (ASKED[1], ASKED[0])
CHOSEN = (
    *("prune.budget.price=macs", "prune.ffn_multiple=8", "prune.schedule.tries=1", "prune.recovery.min_steps=10"),
    "prune.vocabulary_min_count=1",
    *("baseline.min_steps=120", "baseline.learning_rate=3e-3", "baseline.train_embeddings=true"),
    *("run.precision=fp32", "run.num_threads=1", "evaluate.latency.repeats=3", "promote.min_macro_f1=0.3"),
    *("promote.min_rows=5", "promote.classes.min_recall=0", "promote.slices.min_accuracy=0"),
)


def write_pairs(file: Path) -> Path:
    """Write rows whose label is the mood of the second text; some repeat another row, one lacks a text."""
    draw = random.Random(3)
    firsts, seconds = sentences(ROWS, seed=1), sentences(ROWS, seed=2)
    draw.shuffle(firsts)
    rows = [(first, second, label) for (first, _), (second, label) in zip(firsts, seconds, strict=True)]
    rows += [(rows[0][0].upper(), *rows[0][1:]), (*rows[1][:2], "negative"), (rows[2][0], rows[3][1], rows[3][2])]
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([("premise", "hypothesis", "gold"), *rows, ("", "a good day", "positive")])
    return file


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Path:
    place = tmp_path_factory.mktemp("pairs")
    write_pairs(place / "pairs.csv")
    write_bert(place / "tiny-bert")
    options = [word for entry in CHOSEN for word in ("-S", entry)]
    asked = ("--source", "pairs.csv", *COLUMNS, "--label-column", "gold", "--model", "tiny-bert", *options)
    said = output(place, "init", "shop", *asked)
    assert "Pairs of texts from 'premise' and 'hypothesis', labels from 'gold'" in " ".join(said.split())
    assert 'text_column: ["premise", "hypothesis"]' in (place / "shop/params.yaml").read_text()
    git(place / "shop", "add", "-A")
    git(place / "shop", "commit", "-qm", "pairs")
    secateur(place / "shop", "run")
    return place / "shop"


def labels_of(model: Path, *pairs: tuple[str, str]) -> list[str]:
    return [found.label for found in Predictor.load(model).predict([as_text(pair) for pair in pairs])]


def test_rows_are_cleaned_as_wholes_and_by_each_text(root: Path) -> None:
    tables = [pq.read_table(root / f"data/clean/{part}.parquet") for part in ("train", "validation", "test")]
    texts = [text for table in tables for text in table["text"].to_pylist()]
    assert num_texts(texts) == 2
    report = json.loads((root / "reports/data.json").read_text())
    rules = {rule["rule"]: rule for rule in report["rules"]}
    assert rules["empty_text"]["rows"] == 1
    assert rules["exact_duplicates"]["rows"] + rules["label_conflicts"]["rows"] >= 2
    assert len(texts) == ROWS + 1 - (rules["label_conflicts"]["rows"] == 2), "a text with another one is another row"
    assert " | " in rules["exact_duplicates"]["examples"][0]["before"]


def test_both_texts_are_read_and_told_apart(root: Path) -> None:
    assert labels_of(root / "models/baseline", ASKED, OTHER) == ["positive", "negative"]
    assert labels_of(root / "models/r3", ASKED, OTHER) == ["positive", "negative"]
    metrics = json.loads((root / "reports/metrics.json").read_text())
    assert metrics["baseline"]["macro_f1"] > 0.6
    assert metrics["baseline"]["robust_macro_f1"] > 0.3
    assert "of either text" in json.loads((root / "reports/details.json").read_text())["reference"]
    assert metrics["reference"]["macro_f1"] > 0.6, "words are counted for each text by itself"
    cards = [json.loads((root / f"models/{name}/card.json").read_text()) for name in ("baseline", "r3")]
    assert [card["texts"] for card in cards] == [2, 2]
    assert len(load_tokenizer(root / "models/r3")) < len(load_tokenizer(root / "models/baseline"))
    assert "\ufdd0" not in (root / "reports/report.html").read_text()


def test_every_form_says_the_same_as_transformers(root: Path, tmp_path: Path) -> None:
    output(root, "export", "models/r3", "--to", "onnx", "--out", tmp_path / "onnx")
    padded = export_padded(root / "models/r3", tmp_path / "padded")
    plain = AutoModelForSequenceClassification.from_pretrained(padded).eval()
    inputs = AutoTokenizer.from_pretrained(padded)(*ASKED, return_tensors="pt")
    assert inputs["token_type_ids"].sum() > 0
    with torch.inference_mode():
        expected = torch.softmax(plain(**inputs).logits, dim=-1)[0].numpy()
    for folder in (root / "models/r3", tmp_path / "onnx"):
        [found] = Predictor.load(folder).predict([as_text(ASKED)])
        assert np.allclose([*found.scores.values()], expected, atol=1e-5)


def test_predict_takes_two_arguments_two_columns_or_a_tab(root: Path, tmp_path: Path) -> None:
    found = json.loads(output(root, "predict", "models/r3", *ASKED, *OTHER, "--json"))
    assert [(tuple(row["text"]), row["label"]) for row in found] == [(ASKED, "positive"), (OTHER, "negative")]
    lines = "\n".join("\t".join(pair) for pair in (ASKED, OTHER))
    assert json.loads(output(root, "predict", "models/r3", "--json", stdin=lines)) == found
    assert " | ".join(ASKED) in output(root, "predict", "models/r3", *ASKED)
    output(root, "predict", "models/r3", "--data", "pairs.csv", *COLUMNS, "--out", tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.column_names[:3] == ["premise", "hypothesis", "gold"] and table["predicted_label"][-1].as_py() is None
    pairs = [*zip(table["premise"].to_pylist()[:9], table["hypothesis"].to_pylist()[:9], strict=True)]
    assert table["predicted_label"].to_pylist()[:9] == labels_of(root / "models/r3", *pairs)


def test_half_a_pair_is_refused_in_words(root: Path, tmp_path: Path) -> None:
    wanted = "models/r3 reads pairs of texts: name --text-column twice, found premise"
    one = ("--data", "pairs.csv", "--text-column", "premise")
    assert wanted in str(refused(root, "predict", "models/r3", *one, "--out", tmp_path / "a.csv"))
    assert wanted in str(refused(root, "evaluate", "models/r3", *one, "--label-column", "gold"))
    said = str(refused(root, "prune", "models/r3", *one, "--label-column", "gold", "--out", tmp_path / "p"))
    assert wanted in said
    three = secateur(root, "predict", "models/r3", *ASKED, "more", check=False)
    assert three.returncode == 2 and "give two arguments for each, found 3" in three.stderr


def test_a_finished_model_is_scored_and_pruned(root: Path, tmp_path: Path) -> None:
    asked = ("--data", "pairs.csv", *COLUMNS, "--label-column", "gold")
    found = json.loads(output(root, "evaluate", "models/baseline", *asked, "--json"))
    assert found["rows"] == ROWS + 3 and found["scores"]["accuracy"]["value"] > 0.8
    assert found["learned"] > 0
    out = tmp_path / "pruned"
    told = json.loads(output(root, "prune", "models/baseline", *asked, "--macs", "0.6", "--out", out, "--json"))
    assert told["pruned"]["accuracy"] > 0.6
    assert json.loads((out / "card.json").read_text())["texts"] == 2
    assert labels_of(out, ASKED, OTHER) == ["positive", "negative"]


@pytest.mark.usefixtures("forked_proofs")
def test_a_champion_answers_by_mlflow_and_by_http(root: Path) -> None:
    said = output(root, "models", "promote", "shop")
    assert "is the champion" in said
    with chdir(root):
        mlflow.set_tracking_uri(f"sqlite:///{root / 'mlflow.db'}")
        loaded = mlflow.pyfunc.load_model("models:/shop@champion")
    answered = loaded.predict(pd.DataFrame([ASKED, OTHER], columns=["one", "two"]))
    assert answered["label"].tolist() == ["positive", "negative"]
    with running(Project(root), "models:/shop@champion") as server:
        found = server.predict([list(ASKED), list(OTHER)]).json()["predictions"]
        assert [entry["label"] for entry in found] == ["positive", "negative"]
        assert found[0]["score"] == pytest.approx(answered["score"][0], abs=1e-6)
        assert server.predict(list(ASKED)).json()["predictions"] == found[:1]
        for wrong in ("one text", ["a", "b", "c"], [["a", "b", "c"]], [["alone"]]):
            refusal = server.predict(wrong)
            assert refusal.status_code == 422 and refusal.json()["field"].startswith("texts")
    assert output(root, "models", "reproduce", "models:/shop@champion")


def test_python_takes_pairs(root: Path) -> None:
    model, tokenizer = load(root / "models/baseline"), load_tokenizer(root / "models/baseline")
    table = pq.read_table(root / "data/clean/train.parquet").slice(0, 48)
    names = json.loads((root / "data/clean/labels.json").read_text())
    rows = [
        {"text": texts_in(text), "label": names[label]}
        for text, label in zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True)
    ]
    pruned = api.prune(model, rows, budget={"macs": 0.6}, tokenizer=tokenizer, settings={"ffn_multiple": 8})
    inputs = tokenizer([ASKED[0], OTHER[0]], [ASKED[1], OTHER[1]], return_tensors="pt", padding=True)
    with torch.inference_mode():
        said = pruned.model(**inputs).logits.argmax(dim=-1).tolist()
    assert [names[label] for label in said] == ["positive", "negative"]


def test_one_text_is_no_pair(root: Path, tmp_path: Path) -> None:
    """A model that a project made of single texts says so when it is given two."""
    alone = tmp_path / "alone"
    shutil.copytree(root / "models/r3", alone)
    card = json.loads((alone / "card.json").read_text())
    (alone / "card.json").write_text(json.dumps({name: value for name, value in card.items() if name != "texts"}))
    said = str(refused(root, "evaluate", alone, "--data", "pairs.csv", *COLUMNS, "--label-column", "gold"))
    assert said.endswith("reads one text: name one --text-column, found premise, hypothesis")
    with pytest.raises(ModelError, match="the model reads one text, and was given two"):
        Predictor.load(alone).predict([as_text(ASKED)])
    assert Predictor.load(alone).predict([ASKED[1]])
