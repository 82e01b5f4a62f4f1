import csv
import json

import pyarrow.parquet as pq
import pytest

from secateur.models.checkpoint import load, read_card
from tasks import evaluate
from tests.tasks.stage_chain import EVALUATE, RUN, evaluate_job, run_baseline, run_evaluate, run_round, write_inputs

_NUMBERS = {
    "params", "nonembedding_params", "sparsity", "macs", "bytes", "loss",
    "accuracy", "accuracy_low", "accuracy_high", "macro_f1", "macro_f1_low", "macro_f1_high",
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluate")
    write_inputs(root)
    run_baseline(root)
    run_round(root, "r1", "baseline")
    run_evaluate(root, "baseline", "r1")
    return root


def read(root, name):
    return json.loads((root / name).read_text())


def test_metrics_have_exactly_the_agreed_names(finished):
    metrics = read(finished, "metrics.json")
    assert set(metrics) == {"baseline", "rounds"}
    assert set(metrics["baseline"]) == _NUMBERS
    assert set(metrics["rounds"]) == {"r1"}
    assert set(metrics["rounds"]["r1"]) == _NUMBERS | {"accepted"}


def test_numbers_agree_with_models_and_predictions(finished):
    metrics, table = read(finished, "metrics.json"), pq.read_table(finished / "p.parquet").to_pydict()
    assert list(table) == ["row", "label", "baseline", "r1"]
    for name, entry in (("baseline", metrics["baseline"]), ("r1", metrics["rounds"]["r1"])):
        model = load(finished / "models" / name)
        assert entry["params"] == sum(parameter.numel() for parameter in model.parameters())
        hits = [a == b for a, b in zip(table[name], table["label"], strict=True)]
        assert entry["accuracy"] == pytest.approx(sum(hits) / len(hits))
        assert entry["macro_f1_low"] <= entry["macro_f1"] <= entry["macro_f1_high"]
    assert metrics["baseline"]["sparsity"] == 0.0
    assert 0.1 < metrics["rounds"]["r1"]["sparsity"] < 0.5
    assert metrics["rounds"]["r1"]["macs"] < metrics["baseline"]["macs"]


def test_details_name_labels_widths_and_the_surest_mistakes(finished):
    details = read(finished, "details.json")
    assert details["labels"] == ["negative", "positive"]
    assert details["test_rows"] == 40
    entry = details["models"]["r1"]
    assert sum(map(sum, entry["confusion"])) == 40
    assert set(entry["per_class"]) == {"negative", "positive"}
    assert entry["widths"] == read_card(finished / "models/r1")["widths"]
    wrong = entry["confusion"][0][1] + entry["confusion"][1][0]
    assert len(entry["errors"]) == min(wrong, 20)
    scores = [error["score"] for error in entry["errors"]]
    assert scores == sorted(scores, reverse=True)
    assert all(error["label"] != error["predicted"] for error in entry["errors"])


def test_plot_has_one_line_per_model(finished):
    with (finished / "quality.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["baseline", "r1"]
    assert float(rows[1]["macro_f1"]) == read(finished, "metrics.json")["rounds"]["r1"]["macro_f1"]


def test_same_inputs_same_bytes(finished):
    names = ("metrics.json", "details.json", "p.parquet", "quality.csv")
    before = [(finished / name).read_bytes() for name in names]
    run_evaluate(finished, "baseline", "r1")
    assert [(finished / name).read_bytes() for name in names] == before


def test_latency_is_measured_once_per_weights_and_settings(finished, monkeypatch):
    job = evaluate_job(finished, ("baseline", "r1"))
    arguments = {"run": RUN, "evaluate": EVALUATE, "max_length": 16}
    evaluate.measure(job, **arguments)
    run_evaluate(finished, "baseline", "r1")  # the line above cleared the outputs
    latency = read(finished, "latency.json")
    assert [(row["checkpoint"], row["runtime"]) for row in latency["results"]] == [
        ("baseline", "torch"),
        ("r1", "torch"),
    ]
    assert latency["results"][0]["speedup"] == 1.0
    assert set(latency["machine"]) == {"cpu", "cores", "torch", "onnxruntime"}
    assert latency["settings"]["length"] == 8
    assert latency["weights"]["r1"] == read_card(finished / "models/r1")["weights_sha256"]

    calls = []
    monkeypatch.setattr(evaluate, "bench", lambda *_, **__: calls.append(1) or [])
    evaluate.measure(job, **arguments)
    assert calls == []
    slower = EVALUATE.latency.model_copy(update={"repeats": 4})
    evaluate.measure(job, run=RUN, evaluate=EVALUATE.model_copy(update={"latency": slower}), max_length=16)
    assert calls == [1]
