"""A number per text, from ``secateur init`` to a served champion that is built again, and beside a project."""

import csv
import json
from contextlib import chdir
from pathlib import Path

import httpx
import mlflow
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForSequenceClassification

import secateur as api
from secateur.data.tokens import read_tokens
from secateur.formats.padded import export_padded
from secateur.inference.prediction import Predictor
from secateur.models.checkpoint import load, load_tokenizer
from secateur.workflow.project import Project
from tests.integration.in_process import output, refused
from tests.tasks.serving.running import running
from tests.tiny import git, rated, secateur, write_bert

ROWS = 400
GOOD = "my house the song great today 1"
BAD = "my house bad the song today 2"
CHOSEN = (
    *("prune.budget.price=macs", "prune.ffn_multiple=8", "prune.schedule.tries=1", "prune.recovery.min_steps=40"),
    *("prune.rounds={r1: {prev: baseline}}", "prune.recovery.learning_rate=3e-3"),
    *("baseline.min_steps=300", "baseline.learning_rate=3e-3", "baseline.train_embeddings=true"),
    *("run.precision=fp32", "run.num_threads=1", "evaluate.latency.repeats=3", "promote.min_r2=0.3"),
    *("promote.min_rows=5",),
)
ASKED = ("--data", "rows.csv", "--label-column", "worth")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write rows with numbers, and the same with decimal commas."""
    folder = tmp_path_factory.mktemp("numbers")
    rows = rated(ROWS)
    with (folder / "rows.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerows([("text", "worth"), *rows])
        writer.writerow((rows[7][0].upper(), rows[7][1] + 1.0))
        writer.writerow((f"{rows[8][0]}!", rows[8][1] + 900.0))
    with (folder / "commas.csv").open("w", newline="") as out:
        commas = ((text, f"{value:.1f}".replace(".", ",")) for text, value in rows[:40])
        csv.writer(out, delimiter=";").writerows([("text", "worth"), *commas])
    write_bert(folder / "tiny-bert")
    return folder


@pytest.fixture(scope="module")
def root(place: Path, prefect_server: str) -> Path:
    options = [word for entry in CHOSEN for word in ("-S", entry)]
    named = ("--source", "rows.csv", "--label-column", "worth", "--model", "tiny-bert")
    said = " ".join(output(place, "init", "shop", *named, *options).split())
    assert "Numbers from " in said
    params = (place / "shop/params.yaml").read_text()
    assert "task: regression" in params and "R²" in params and "macro-F1" not in params
    git(place / "shop", "add", "-A")
    git(place / "shop", "commit", "-qm", "numbers")
    secateur(place / "shop", "run")
    return place / "shop"


def numbers_of(model: Path, *texts: str) -> list[float]:
    return [found.number for found in Predictor.load(model).predict(texts)]


def test_cells_are_names_where_that_is_asked_and_words_are_no_numbers(place: Path, tmp_path: Path) -> None:
    asked = ("init", tmp_path / "one", "--source", "rows.csv", "--label-column", "worth", "--model", "tiny-bert")
    assert "labels have fewer than 3 rows" in str(refused(place, *asked, "--task", "classification"))
    words = ("init", tmp_path / "two", "--source", "rows.csv", "--text-column", "worth", "--label-column", "text")
    said = str(refused(place, *words, "--model", "tiny-bert", "--task", "regression"))
    assert "in row 1, which is no number" in said
    assert "prune.max_robust_drop must be null" in str(refused(place, *asked, "-S", "prune.max_robust_drop=0.1"))
    assert "ingest.rare_labels must be refuse" in str(refused(place, *asked, "-S", "ingest.rare_labels=drop"))


def test_rows_are_cleaned_and_divided_by_their_numbers(root: Path) -> None:
    report = json.loads((root / "reports/data.json").read_text())
    assert report["labels"] == {} and json.loads((root / "data/clean/labels.json").read_text()) == []
    parts = report["numbers"]["parts"]
    assert all(sum(part["counts"]) == report["rows"][name] for name, part in parts.items())
    means = [part["mean"] for part in parts.values()]
    assert max(means) - min(means) < 0.25 * parts["train"]["standard_deviation"]
    rules = {(rule["rule"], rule["effect"]): rule["rows"] for rule in report["rules"]}
    assert rules["exact_duplicates", "dropped"] == 1, "a number near to the first one's is the same"
    assert rules["near_duplicates", "kept"] == 2, "a near copy whose number is far off is none"
    rows = read_tokens(root / "data/tokens/train.arrow")
    assert rows.units is not None and np.log2(rows.units.scale).is_integer()
    assert rows.units.mean == pytest.approx(parts["train"]["mean"])
    table = pq.read_table(root / "data/clean/train.parquet")
    assert rows.labels.tolist() == table["label"].to_pylist(), "files hold the numbers that were given"


def test_models_are_scored_in_the_units_of_the_rows(root: Path) -> None:
    metrics = json.loads((root / "reports/metrics.json").read_text())
    spread = json.loads((root / "reports/details.json").read_text())["spread"]
    for entry in (metrics["baseline"], *metrics["rounds"].values()):
        assert entry["r2_low"] <= entry["r2"] <= entry["r2_high"] <= 1.0 and entry["r2"] > 0.7
        assert entry["rmse"] == pytest.approx(spread * (1.0 - entry["r2"]) ** 0.5)
        assert entry["mae"] < entry["rmse"] < 0.6 * spread and entry["spearman"] > 0.8
    assert metrics["reference"]["r2"] > 0.3
    details = json.loads((root / "reports/details.json").read_text())
    assert details["reference"].startswith("ridge regression (alpha=")
    page = (root / "reports/report.html").read_text()
    assert "Predicted against true" in page and "Largest errors" in page and "Macro-F1" not in page
    assert json.loads((root / "models/r1/config.json").read_text())["problem_type"] == "regression"


def test_every_form_says_the_same_as_transformers(root: Path, tmp_path: Path) -> None:
    output(root, "export", "models/r1", "--to", "onnx", "--out", tmp_path / "onnx")
    output(root, "export", "models/r1", "--to", "onnx", "--int8", "--out", tmp_path / "int8")
    padded = export_padded(root / "models/r1", tmp_path / "padded")
    plain = AutoModelForSequenceClassification.from_pretrained(padded).eval()
    tokenizer = AutoTokenizer.from_pretrained(padded)
    with torch.inference_mode():
        wanted = [float(plain(**tokenizer(text, return_tensors="pt")).logits) for text in (GOOD, BAD)]
    assert wanted[0] > 320.0 and wanted[1] < 180.0
    for folder in (root / "models/r1", tmp_path / "onnx"):
        assert numbers_of(folder, GOOD, BAD) == pytest.approx(wanted, abs=1e-2)
    assert numbers_of(tmp_path / "int8", GOOD, BAD) == pytest.approx(wanted, abs=30.0)


def test_a_finished_model_answers_is_scored_and_pruned(root: Path, place: Path, tmp_path: Path) -> None:
    [good] = json.loads(output(root, "predict", "models/r1", GOOD, "--json"))
    assert [good["number"]] == numbers_of(root / "models/r1", GOOD)
    output(root, "predict", "models/r1", "--data", "rows.csv", "--out", tmp_path / "a.csv")
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert np.corrcoef([[float(row[name]) for row in rows] for name in ("worth", "predicted_number")])[0, 1] > 0.8
    found = json.loads(output(root, "evaluate", "models/baseline", *ASKED, "--json"))
    assert found["confusion"] is None and {"r2", "spearman", "rmse", "mae"} == set(found["scores"])
    commas = ("--data", "../commas.csv", "--label-column", "worth")
    assert json.loads(output(root, "evaluate", "models/baseline", *commas, "--json"))["scores"]["r2"]["value"] > 0.7
    out = tmp_path / "pruned"
    asked = (*ASKED, "--macs", "0.8", "--epochs", "1", "--criterion", "magnitude", "-S", "recovery.learning_rate=3e-3")
    told = json.loads(output(root, "prune", "models/baseline", *asked, "--out", out, "--json"))
    assert told["pruned"]["r2"] > 0.5
    assert numbers_of(out, GOOD)[0] > 300.0


def test_a_model_that_somebody_made_is_pruned_as_what_it_is(place: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = BertConfig.from_pretrained(place / "tiny-bert", num_labels=1)
    assert config.problem_type is None
    BertForSequenceClassification(config).save_pretrained(tmp_path / "theirs")
    load_tokenizer(place / "tiny-bert").save_pretrained(tmp_path / "theirs")
    asked = (*ASKED, "--macs", "0.7", "--criterion", "magnitude", "--out", tmp_path / "pruned", "--json")
    told = json.loads(output(place, "prune", tmp_path / "theirs", *asked))
    assert told["kind"] == "regression" and "spearman" in told["pruned"]
    flags = (*ASKED, "--label-column", "other", "--out", tmp_path / "no")
    assert "says one number for each row" in str(refused(place, "prune", tmp_path / "theirs", *flags))


@pytest.mark.usefixtures("forked_proofs")
def test_a_champion_answers_by_mlflow_and_by_http_and_is_built_again(root: Path) -> None:
    assert "is the champion" in output(root, "models", "promote", "shop")
    with chdir(root):
        mlflow.set_tracking_uri(f"sqlite:///{root / 'mlflow.db'}")
        loaded = mlflow.pyfunc.load_model("models:/shop@champion")
    answered = loaded.predict([GOOD, BAD])["number"].tolist()
    assert answered == pytest.approx(numbers_of(root / "models/r1", GOOD, BAD), abs=30.0)
    with running(Project(root), "models:/shop@champion") as server:
        said = server.predict([GOOD, BAD, ""]).json()["predictions"]
        assert [one["number"] for one in said[:2]] == pytest.approx(answered, rel=1e-5)
        assert said[2]["number"] is None and said[2]["reason"]
        asked: httpx.Response = server.client.post("/predict", json={"texts": GOOD, "probabilities": True})
        assert asked.status_code == 422 and "a number has no probabilities" in asked.json()["detail"]
    both = ("models:/shop/1", "models:/shop@champion")
    compared = json.loads(output(root, "models", "compare", *both, "--json"))
    assert compared["change"]["low"] <= compared["change"]["value"] <= compared["change"]["high"]
    assert compared["scores"]["b"]["r2"] - compared["scores"]["a"]["r2"] == compared["change"]["value"]
    assert output(root, "models", "reproduce", "models:/shop@champion")


def test_python_takes_numbers(root: Path) -> None:
    model, tokenizer = load(root / "models/baseline"), load_tokenizer(root / "models/baseline")
    pruned = api.prune(
        model, rated(64, seed=3), budget={"macs": 0.8}, tokenizer=tokenizer, settings={"ffn_multiple": 8}
    )
    with torch.inference_mode():
        assert float(pruned.model(**tokenizer(GOOD, return_tensors="pt")).logits) > 250.0
    with pytest.raises(api.DataError, match="a number would work"):
        api.prune(model, [("a text", "good")], budget={"macs": 0.8}, tokenizer=tokenizer)
