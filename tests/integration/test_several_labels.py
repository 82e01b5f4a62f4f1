"""Several labels per text, from ``secateur init`` to a served champion that is built again, and beside a project."""

import csv
import json
from contextlib import chdir
from pathlib import Path

import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForSequenceClassification

import secateur as api
from secateur.formats.padded import export_padded
from secateur.inference.prediction import Predictor
from secateur.models.checkpoint import load, load_tokenizer
from secateur.workflow.project import Project
from tests.integration.in_process import output, refused
from tests.tasks.serving.running import running
from tests.tiny import git, secateur, several, write_bert

ROWS = 480
NAMES = ["negative", "neutral", "positive"]
BOTH = "my house bad the song great today"
CHOSEN = (
    *("prune.budget.price=macs", "prune.ffn_multiple=8", "prune.schedule.tries=1", "prune.recovery.min_steps=40"),
    *("prune.rounds={r1: {prev: baseline}}", "prune.recovery.learning_rate=3e-3"),
    *("baseline.min_steps=400", "baseline.learning_rate=3e-3", "baseline.train_embeddings=true"),
    *("run.precision=fp32", "run.num_threads=1", "evaluate.latency.repeats=3", "promote.min_macro_f1=0.3"),
    *("promote.min_rows=5", "promote.classes.min_recall=0", "promote.slices.min_accuracy=0"),
)
ASKED = ("--data", "rows.csv", "--label-column", "moods", "-S", "ingest.label_separator=;")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write rows in three forms: labels with a sign between them, lists, and columns of 0 and 1."""
    folder = tmp_path_factory.mktemp("several")
    rows = several(ROWS)
    with (folder / "rows.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerows([("text", "moods"), *((text, ";".join(labels)) for text, labels in rows)])
        writer.writerow((rows[7][0].upper(), ";".join(rows[7][1])))
        writer.writerow((f"{rows[7][0]}!", rows[1][1][0]))
    table = {"text": [text for text, _ in rows], "moods": [labels for _, labels in rows]}
    pq.write_table(pa.table(table), folder / "rows.parquet")
    with (folder / "flags.csv").open("w", newline="") as out:
        flags = ([text, *(int(name in labels) for name in NAMES)] for text, labels in rows)
        csv.writer(out).writerows([("text", *NAMES), *flags])
    write_bert(folder / "tiny-bert")
    return folder


@pytest.fixture(scope="module")
def root(place: Path, prefect_server: str) -> Path:
    options = [word for entry in CHOSEN for word in ("-S", entry)]
    named = ("--source", "rows.csv", "--label-column", "moods", "--model", "tiny-bert")
    said = " ".join(output(place, "init", "shop", *named, *options).split())
    assert "3 labels: " in said and "rows have none." in said
    params = (place / "shop/params.yaml").read_text()
    assert "task: multi_label" in params and 'label_separator: ";"' in params
    git(place / "shop", "add", "-A")
    git(place / "shop", "commit", "-qm", "moods")
    secateur(place / "shop", "run")
    return place / "shop"


def labels_of(model: Path, *texts: str) -> list[list[str]]:
    return [list(found.labels) for found in Predictor.load(model).predict(texts)]


@pytest.fixture(scope="module")
def asked(root: Path) -> tuple[str, str]:
    """Return a text that gets two labels, and one that gets the fewest."""
    texts = [text for text, labels in several(ROWS) if not labels]
    said = labels_of(root / "models/r1", *texts)
    return BOTH, texts[said.index(min(said, key=len))]


@pytest.mark.parametrize(
    "asked",
    [
        ("--source", "rows.parquet", "--label-column", "moods"),
        ("--source", "flags.csv", *(word for name in NAMES for word in ("--label-column", name))),
    ],
    ids=["lists", "columns"],
)
def test_init_sees_lists_and_takes_columns(place: Path, tmp_path: Path, asked: tuple[str, ...]) -> None:
    told = json.loads(output(place, "init", tmp_path / "shop", *asked, "--model", "tiny-bert", "--json"))
    assert sorted(told["seen"]["labels"]) == NAMES
    chosen = {choice["name"]: choice["value"] for choice in told["chosen"]}
    assert chosen["run.task"] == "multi_label" and chosen["evaluate.robustness.rows"] == 0
    assert (
        told["seen"]["without_label"]
        == ROWS / 8
        == told["seen"]["kept"] - sum(any(labels) for _, labels in several(ROWS))
    )


def test_cells_are_one_label_each_where_that_is_asked(place: Path, tmp_path: Path) -> None:
    asked = ("init", tmp_path / "one", "--source", "rows.csv", "--label-column", "moods", "--model", "tiny-bert")
    told = json.loads(output(place, *asked, "--task", "classification", "--json"))
    assert "negative;positive" in told["seen"]["labels"] and told["seen"]["without_label"] is None
    lists = ("init", tmp_path / "two", "--source", "rows.parquet", "--label-column", "moods", "--model", "tiny-bert")
    said = str(refused(place, *lists, "--task", "classification"))
    assert "holds lists: rows with several labels each (multi-label) are for run.task=multi_label" in said
    assert "prune.max_robust_drop must be null" in str(refused(place, *lists, "-S", "prune.max_robust_drop=0.1"))


def test_rows_keep_their_sets_and_every_part_has_every_label(root: Path) -> None:
    report = json.loads((root / "reports/data.json").read_text())
    assert list(report["labels"]) == NAMES == json.loads((root / "data/clean/labels.json").read_text())
    assert all(rows for parts in report["labels"].values() for rows in parts.values())
    assert sum(report["without_label"].values()) == ROWS / 8
    assert any("have none of the 3 labels in 'moods', and stay" in said for said in report["source"]["remarks"])
    rules = {(rule["rule"], rule["effect"]): rule for rule in report["rules"]}
    assert rules["exact_duplicates", "dropped"]["rows"] == 1
    assert rules["exact_duplicates", "dropped"]["labels"] == dict.fromkeys(NAMES, 1)
    assert rules["near_duplicates", "kept"]["rows"] == 2, "a near copy with other labels is none"
    table = pq.read_table(root / "data/clean/train.parquet")
    assert pa.types.is_fixed_size_list(table["label"].type) and len(table["label"][0]) == 3


def test_models_are_scored_by_label_and_by_row(root: Path) -> None:
    metrics = json.loads((root / "reports/metrics.json").read_text())
    for entry in (metrics["baseline"], *metrics["rounds"].values()):
        assert entry["accuracy"] <= entry["micro_f1"] and entry["macro_f1"] > 0.8
        assert entry["accuracy_low"] <= entry["accuracy"] <= entry["accuracy_high"]
    assert metrics["reference"]["macro_f1"] > 0.6
    details = json.loads((root / "reports/details.json").read_text())
    assert details["reference"].startswith("one-vs-rest logistic regression")
    assert list(details["models"]["r1"]["per_class"]) == NAMES
    config = json.loads((root / "models/r1/config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    page = (root / "reports/report.html").read_text()
    assert "Micro-F1" in page and "Exact match" in page and "\ufdd1" not in page
    assert labels_of(root / "models/r1", BOTH) == [["negative", "positive"]]


def test_every_form_says_the_same_as_transformers(root: Path, tmp_path: Path) -> None:
    output(root, "export", "models/r1", "--to", "onnx", "--out", tmp_path / "onnx")
    output(root, "export", "models/r1", "--to", "onnx", "--int8", "--out", tmp_path / "int8")
    padded = export_padded(root / "models/r1", tmp_path / "padded")
    plain = AutoModelForSequenceClassification.from_pretrained(padded).eval()
    with torch.inference_mode():
        logits = plain(**AutoTokenizer.from_pretrained(padded)(BOTH, return_tensors="pt")).logits
    for folder in (root / "models/r1", tmp_path / "onnx"):
        [found] = Predictor.load(folder).predict([BOTH])
        assert np.allclose([*found.scores.values()], torch.sigmoid(logits)[0].numpy(), atol=1e-5)
    assert labels_of(tmp_path / "int8", BOTH) == [["negative", "positive"]]


def test_predict_says_all_labels_above_a_half(root: Path, asked: tuple[str, str], tmp_path: Path) -> None:
    both, few = json.loads(output(root, "predict", "models/r1", *asked, "--json"))
    assert both["labels"] == ["negative", "positive"] and all(score > 0.5 for score in both["scores"])
    assert [few["labels"]] == labels_of(root / "models/r1", few["text"]) and len(few["labels"]) == len(
        few["scores"]
    ) < 2
    assert "negative, positive" in output(root, "predict", "models/r1", BOTH)
    output(root, "predict", "models/r1", "--data", "rows.csv", "--out", tmp_path / "a.csv")
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    said = labels_of(root / "models/r1", *(row["text"] for row in rows))
    assert [row["predicted_labels"] for row in rows] == ["|".join(labels) for labels in said]
    assert {f"predicted_score_{name}" for name in NAMES} < set(rows[0])


def test_a_finished_model_is_scored_and_pruned(root: Path, tmp_path: Path) -> None:
    found = json.loads(output(root, "evaluate", "models/baseline", *ASKED, "--json"))
    assert found["rows"] == ROWS + 2 and found["confusion"] is None
    assert found["scores"]["macro_f1"]["value"] > 0.8 and {"accuracy", "micro_f1"} < set(found["scores"])
    flags = ("--data", "../flags.csv", *(word for name in NAMES for word in ("--label-column", name)))
    assert json.loads(output(root, "evaluate", "models/baseline", *flags, "--json"))["rows"] == ROWS
    out = tmp_path / "pruned"
    said = output(root, "prune", "models/baseline", *ASKED, "--macs", "0.8", "--out", out)
    assert "micro f1" in said
    assert labels_of(out, BOTH) == [["negative", "positive"]]


def test_a_model_that_somebody_made_is_pruned_as_what_it_is(place: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    names = dict(enumerate(NAMES))
    kind = {"id2label": names, "label2id": {name: index for index, name in names.items()}}
    config = BertConfig.from_pretrained(place / "tiny-bert", problem_type="multi_label_classification", **kind)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "theirs")
    load_tokenizer(place / "tiny-bert").save_pretrained(tmp_path / "theirs")
    out = tmp_path / "pruned"
    asked = ("--data", "rows.parquet", "--label-column", "moods", "--macs", "0.7", "--criterion", "magnitude")
    told = json.loads(output(place, "prune", tmp_path / "theirs", *asked, "--out", out, "--json"))
    assert told["kind"] == "multi_label" and "micro_f1" in told["pruned"]
    assert json.loads((out / "card.json").read_text())["task"] == "multi_label"
    config.problem_type = None
    BertForSequenceClassification(config).save_pretrained(tmp_path / "one")
    load_tokenizer(place / "tiny-bert").save_pretrained(tmp_path / "one")
    flags = ("--data", "flags.csv", *(word for name in NAMES for word in ("--label-column", name)))
    said = str(refused(place, "prune", tmp_path / "one", *flags, "--out", tmp_path / "no"))
    assert "says one label for each row" in said and "name one --label-column" in said


@pytest.mark.usefixtures("forked_proofs")
def test_a_champion_answers_by_mlflow_and_by_http_and_is_built_again(root: Path, asked: tuple[str, str]) -> None:
    said = output(root, "models", "promote", "shop")
    assert "is the champion" in said
    with chdir(root):
        mlflow.set_tracking_uri(f"sqlite:///{root / 'mlflow.db'}")
        loaded = mlflow.pyfunc.load_model("models:/shop@champion")
    answered = loaded.predict([*asked])
    assert answered["labels"].tolist() == labels_of(root / "models/r1", *asked)
    with running(Project(root), "models:/shop@champion") as server:
        both, few = server.predict([*asked]).json()["predictions"]
        assert both["labels"] == ["negative", "positive"] == list(both["scores"])
        assert [*both["scores"].values()] == pytest.approx(answered["scores"][0], abs=1e-6)
        assert few["labels"] == list(few["scores"]) == answered["labels"][1] and "probabilities" not in few
    both_versions = ("models:/shop/1", "models:/shop@champion")
    compared = json.loads(output(root, "models", "compare", *both_versions, "--json"))
    assert "micro_f1" in compared["scores"]["a"]
    assert output(root, "models", "reproduce", "models:/shop@champion")


def test_python_takes_lists_of_labels(root: Path) -> None:
    model, tokenizer = load(root / "models/baseline"), load_tokenizer(root / "models/baseline")
    rows = several(64, seed=3)
    pruned = api.prune(model, rows, budget={"macs": 0.8}, tokenizer=tokenizer, settings={"ffn_multiple": 8})
    with torch.inference_mode():
        logits = pruned.model(**tokenizer(BOTH, return_tensors="pt")).logits
    assert (logits[0] > 0).tolist() == [True, False, True]
