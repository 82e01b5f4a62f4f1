"""Somebody else's data, by parameters alone: other files, other columns, other labels, the same flow."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq

from tests.integration.in_process import output
from tests.tiny import actions, sentences

# One round, and embeddings that learn: then the tiny model reads the telling words within seconds.
_QUICK = {
    "prune.rounds": "{r1: {prev: baseline}}",
    "prune.schedule.steps": "1",
    "baseline.train_embeddings": "true",
    "prune.recovery.train_embeddings": "true",
}


def _run(root: Path, **values: str) -> None:
    overrides = [f"{name.replace('__', '.')}={value}" for name, value in values.items()]
    quick = [f"{name}={value}" for name, value in _QUICK.items()]
    done = actions(root, *(part for override in (*overrides, *quick) for part in ("-S", override)))
    assert set(done.values()) == {"run"}
    assert list(done) == ["ingest", "clean", "baseline", "prune@r1", "evaluate", "register", "report"]


def test_a_csv_with_five_labels_and_other_columns(project: Path) -> None:
    rows = sentences(300, num_labels=5)
    names = sorted({label for _, label in rows})
    with (project / "letters.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "what they wrote", "topic"])
        writer.writerows([number, text, label] for number, (text, label) in enumerate(rows))
    _run(
        project,
        ingest__source="letters.csv",
        ingest__text_column="what they wrote",
        ingest__label_column="topic",
        baseline__epochs="20",
        baseline__patience="20",  # a tiny model learns nothing for some passes
        baseline__learning_rate="1e-3",
        baseline__batch_size="8",
        register__model_name="letters",
    )
    assert json.loads((project / "data/clean/labels.json").read_text()) == names
    metrics = json.loads((project / "reports/metrics.json").read_text())
    assert set(metrics["rounds"]) == {"r1"}
    assert metrics["baseline"]["macro_f1"] > 0.5, "five labels by chance would be 0.2"
    details = json.loads((project / "reports/details.json").read_text())
    assert details["labels"] == names
    assert details["test_rows"] == 60
    described = json.loads(output(project, "inspect", "models/r1", "--json"))
    assert described["labels"] == names
    predicted = json.loads(output(project, "predict", "models/r1", "--json", *(text for text, _ in rows[:50])))
    right = sum(row["label"] == label for row, (_, label) in zip(predicted, rows[:50], strict=True))
    assert {row["label"] for row in predicted} <= set(names)
    assert right >= 25, "half of the training rows by their own names"
    assert set(details["models"]["r1"]["per_class"]) == set(names)
    shown = json.loads(output(project, "models", "list", "--json"))
    assert {model["name"]: len(model["versions"]) for model in shown} == {"tiny": 3, "letters": 2}


def test_json_lines_with_numbers_as_labels_from_outside_the_project(project: Path, tmp_path: Path) -> None:
    source = tmp_path / "elsewhere" / "reviews.jsonl"
    source.parent.mkdir()
    numbers = {"negative": 0, "positive": 1}
    rows = sentences(300)
    lines = [json.dumps({"id": i, "body": text, "stars": numbers[label]}) for i, (text, label) in enumerate(rows)]
    source.write_text("\n".join(lines), encoding="utf-8")
    _run(
        project,
        ingest__source=str(source),
        ingest__text_column="body",
        ingest__label_column="stars",
        baseline__epochs="6",
        register__model_name="reviews",
    )
    assert json.loads((project / "data/clean/labels.json").read_text()) == ["0", "1"]
    assert (project / "data/raw/reviews.jsonl").read_bytes() == source.read_bytes()
    provenance = json.loads((project / "data/raw/provenance.json").read_text())
    assert (provenance["source"], provenance["format"]) == ("reviews.jsonl", "jsonl"), "no path of this machine"
    metrics = json.loads((project / "reports/metrics.json").read_text())
    assert metrics["rounds"]["r1"]["accuracy"] > 0.8
    predicted = pq.read_table(project / "reports/predictions.parquet").to_pylist()
    assert len(predicted) == 60
    texts = ["the day good a river", "my house awful today"]
    assert [row["label"] for row in json.loads(output(project, "predict", "models/r1", "--json", *texts))] == ["1", "0"]
    # Another byte in a file outside the project is noticed like one inside.
    source.write_text("\n".join(lines[:-1]), encoding="utf-8")
    planned = {entry["stage"]: entry for entry in json.loads(output(project, "plan", "--json"))}
    assert planned["ingest"]["verdict"] == "run"
    assert "reviews.jsonl" in planned["ingest"]["causes"][0]
