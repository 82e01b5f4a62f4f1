"""A grade per text, from the rows to the answers of a finished model in every form."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import secateur as api
from secateur.config.part import parse_part
from secateur.config.serve import ServeSection
from secateur.data.acquisition import HubSelection, copy_rows
from secateur.files import write_json
from secateur.formats.padded import export_padded
from secateur.inference.prediction import Predictor
from secateur.kinds.registry import kind_named
from secateur.models.checkpoint import load, load_tokenizer
from secateur.readers.reading import reading_of
from secateur.serving.classification import _shape_of, classify
from secateur.serving.figures import Figures
from secateur.serving.schema import request_type
from secateur.workflow.job import Job
from tasks import clean
from tests.integration.in_process import output, refused
from tests.tasks.stage_chain import BASELINE, RUN, run_baseline
from tests.tiny import sentences, write_bert

STARS = {"negative": "1", "neutral": "3", "positive": "5"}
GOOD, BAD = "my house the song great today 1", "my house bad the song today 2"
ASKED = ("--data", "rows.csv", "--label-column", "stars")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy, clean and split rows with grades, and train a dense model on them."""
    folder = tmp_path_factory.mktemp("grades")
    with (folder / "rows.csv").open("w", newline="") as file:
        rows = ((text, STARS[label]) for text, label in sentences(300, num_labels=3))
        csv.writer(file).writerows([("text", "stars"), *rows])
    write_bert(folder / "base")
    write_json(folder / "base/provenance.json", {"kind": "file"})
    config = parse_part("ordinal", {"ingest": {"source": str(folder / "rows.csv"), "label_column": "stars"}})
    kind = kind_named("ordinal")
    reading, hub = reading_of(config.ingest, kind), HubSelection(None, "train", None)
    copy_rows(config.ingest.source, reading, hub=hub, out=folder / "raw", min_labels=kind.min_labels)
    outputs = {part: folder / f"{part}.parquet" for part in ("train", "validation", "test")}
    outputs |= {name: folder / f"{name}.json" for name in ("labels", "text_rules", "report")}
    job = Job("clean", "key", {"raw": folder / "raw"}, outputs)
    clean.run(job, ingest=config.ingest, clean=config.clean, seed=0, kind="ordinal")
    run_baseline(folder, settings=BASELINE, run=RUN.model_copy(update={"task": "ordinal"}))
    return folder


def grades_of(model: Path, *texts: str) -> list[str]:
    return [found.label for found in Predictor.load(model).predict(texts)]


def test_init_says_that_grades_have_an_order(root: Path, tmp_path: Path) -> None:
    asked = ("init", tmp_path / "shop", "--source", "rows.csv", "--label-column", "stars", "--model", "base", "--json")
    with (root / "grades.csv").open("w", newline="") as file:
        rows = ((text, number % 5 + 1) for number, (text, _) in enumerate(sentences(300)))
        csv.writer(file).writerows([("text", "stars"), *rows])
    names = ("init", tmp_path / "one", "--source", "grades.csv", *asked[4:])
    told = json.loads(output(root, *names))
    assert any("--task ordinal learns that 4 is next to 5" in said for said in told["remarks"])
    told = json.loads(output(root, *asked, "--task", "ordinal"))
    chosen = {choice["name"]: choice["value"] for choice in told["chosen"]}
    assert chosen["run.task"] == "ordinal" and chosen["promote.min_qwk"] == 0.05
    assert told["seen"]["numbers"] == [1.0, 3.0, 5.0] and told["seen"]["labels"] == {}


def test_rows_have_the_place_of_their_grade(root: Path) -> None:
    assert json.loads((root / "labels.json").read_text()) == ["1", "3", "5"]
    assert set(pq.read_table(root / "train.parquet")["label"].to_pylist()) == {0.0, 1.0, 2.0}
    report = json.loads((root / "report.json").read_text())
    assert list(report["labels"]) == ["1", "3", "5"] and "numbers" not in report
    config = json.loads((root / "models/baseline/config.json").read_text())
    assert config["id2label"] == {"0": "1 < 3 < 5"} and config["problem_type"] == "regression"


def test_every_form_says_the_nearest_grade(root: Path, tmp_path: Path) -> None:
    output(root, "export", "models/baseline", "--to", "onnx", "--out", tmp_path / "onnx")
    output(root, "export", "models/baseline", "--to", "onnx", "--int8", "--out", tmp_path / "int8")
    for folder in (root / "models/baseline", tmp_path / "onnx", tmp_path / "int8"):
        assert grades_of(folder, GOOD, BAD) == ["5", "1"]
    plain = AutoModelForSequenceClassification.from_pretrained(export_padded(root / "models/baseline", tmp_path / "p"))
    with torch.inference_mode():
        place = float(plain.eval()(**AutoTokenizer.from_pretrained(tmp_path / "p")(GOOD, return_tensors="pt")).logits)
    [found] = Predictor.load(root / "models/baseline").predict([GOOD])
    assert found.number == pytest.approx(place, abs=1e-5)
    assert found.value == pytest.approx(np.interp(place, [0, 1, 2], [1, 3, 5]), abs=1e-4)


def test_a_finished_model_answers_is_scored_and_pruned(root: Path, tmp_path: Path) -> None:
    [good] = json.loads(output(root, "predict", "models/baseline", GOOD, "--json"))
    assert good["grade"] == "5" and 4.0 < good["value"] <= 5.0
    found = json.loads(output(root, "evaluate", "models/baseline", *ASKED, "--json"))
    assert found["confusion"]["labels"] == ["1", "3", "5"] and found["scores"]["qwk"]["value"] > 0.8
    (root / "more.csv").write_text((root / "rows.csv").read_text() + "a text of its own,4\n")
    more = ("--data", "more.csv", *ASKED[2:])
    assert "it knows 1, 3, 5" in str(refused(root, "evaluate", "models/baseline", *more))
    said = str(refused(root, "prune", "models/baseline", *more, "--out", tmp_path / "no"))
    assert "has grades that the model has not: 4; it knows 1, 3, 5" in said
    asked = (*ASKED, "--macs", "0.8", "--criterion", "magnitude", "--out", tmp_path / "pruned", "--json")
    told = json.loads(output(root, "prune", "models/baseline", *asked))
    assert told["kind"] == "ordinal" and {"qwk", "macro_mae"} < set(told["pruned"])
    assert Predictor.load(tmp_path / "pruned").labels == ("1", "3", "5")


def test_the_server_and_python_know_the_grades(root: Path) -> None:
    from types import SimpleNamespace

    kind, figures = kind_named("ordinal"), Figures.make()
    served = SimpleNamespace(
        name="stars", source=SimpleNamespace(version="1"), model=Predictor.load(root / "models/baseline")
    )
    said = classify(served, [GOOD, ""], batch_size=8, figures=figures)  # type: ignore[arg-type]
    _, respond = _shape_of(kind)
    answered = respond(SimpleNamespace(served=served, results=said), probabilities=False)
    first, second = answered.model_dump(exclude_unset=True)["predictions"]
    assert first["grade"] == "5" and second["grade"] is None and second["reason"]
    assert b'secateur_predictions_total{label="5",version="1"} 1.0' in figures.text()
    assert "texts" in request_type(ServeSection()).model_fields
    model, tokenizer = load(root / "models/baseline"), load_tokenizer(root / "models/baseline")
    rows = [(text, STARS[label]) for text, label in sentences(40, num_labels=3, seed=5)]
    pruned = api.prune(model, rows, budget={"macs": 0.8}, tokenizer=tokenizer, settings={"ffn_multiple": 8})
    assert pruned.before.loss < 0.5, "rows have the place of their grade, and not its number"
    batch = {"input_ids": torch.tensor([[5, 6], [7, 8]]), "labels": torch.tensor([1.0, 5.0])}
    with pytest.raises(
        api.DataError, match="batch 1 has label 5; labels are places in the order of the grades 1, 3, 5"
    ):
        api.prune(model, [batch], budget={"macs": 0.8})
    with pytest.raises(api.DataError, match="the model knows the grades 1, 3, 5"):
        api.prune(model, [("a text", 4)], budget={"macs": 0.8}, tokenizer=tokenizer)
