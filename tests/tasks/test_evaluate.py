import csv
import dataclasses
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from secateur.config.evaluate import RobustnessSection
from secateur.data.tokens import TokenRows
from secateur.evaluation import deployed
from secateur.evaluation.deployed import folder_bytes
from secateur.evaluation.metrics import confusion, macro_f1
from secateur.files import remove, write_json
from secateur.inference.prediction import Predictor
from secateur.models.checkpoint import load, load_tokenizer, read_card, save, verify
from tasks import evaluate
from tests.tasks.stage_chain import EVALUATE, PRUNE, RUN, evaluate_job, run_baseline, run_round, write_inputs

_NUMBERS = {
    "params", "nonembedding_params", "sparsity", "macs", "bytes", "compressed_bytes", "loss",
    "accuracy", "accuracy_low", "accuracy_high", "macro_f1", "macro_f1_low", "macro_f1_high",
    "deployed_macro_f1", "deployed_macro_f1_low", "deployed_macro_f1_high",
    "deployed_accuracy", "deployed_bytes", "robust_macro_f1", "robust_drop",
}  # fmt: skip
_COMPARED = {
    "deployed_change", "deployed_change_low", "deployed_change_high", "deployed_lost", "deployed_won",
    "deployed_p_value", "accepted",
}  # fmt: skip


_ATTACKED = EVALUATE.model_copy(
    update={
        "deployed": "torch",
        "robustness": RobustnessSection(
            rows=24, attacks=("typos", "deletion", "gradient"), words_per_text=1, num_candidates=99
        ),
    }
)


def write_inputs_of(source, root):
    for name in ("test.parquet", "labels.json"):
        shutil.copy(source / name, root / name)
    shutil.copytree(source / "models", root / "models")


def evaluated(root, **changes):
    job = evaluate_job(root, ("baseline", "r1"))
    evaluate.run(job, run=RUN, evaluate=_ATTACKED.model_copy(update=changes), max_length=16)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluate")
    write_inputs(root)
    run_baseline(root)
    run_round(root, "r1", "baseline")
    evaluated(root)
    return root


def read(root, name):
    return json.loads((root / name).read_text())


def test_metrics_have_exactly_the_agreed_names(finished):
    metrics = read(finished, "metrics.json")
    assert set(metrics) == {"baseline", "rounds"}
    assert set(metrics["baseline"]) == _NUMBERS
    assert set(metrics["rounds"]) == {"r1"}
    assert set(metrics["rounds"]["r1"]) == _NUMBERS | _COMPARED


def test_the_change_is_that_of_the_deployed_form_on_the_same_rows(finished):
    metrics, table = read(finished, "metrics.json"), pq.read_table(finished / "p.parquet").to_pydict()
    entry = metrics["rounds"]["r1"]
    change = entry["deployed_macro_f1"] - metrics["baseline"]["macro_f1"]
    assert entry["deployed_change"] == pytest.approx(change)
    assert entry["deployed_change_low"] <= change <= entry["deployed_change_high"]
    right = [
        (dense == label, pruned == label)
        for label, dense, pruned in zip(*(table[name] for name in ("label", "baseline", "r1")), strict=True)
    ]
    assert (entry["deployed_lost"], entry["deployed_won"]) == (right.count((True, False)), right.count((False, True)))


def test_a_rolled_back_round_has_the_scores_of_what_it_tried_and_a_round_after_it_none(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    dense = read_card(tmp_path / "models/baseline")
    dense["metrics"]["validation_macro_f1"] = 1.1  # a floor above every score
    write_json(tmp_path / "models/baseline/card.json", dense)
    once = PRUNE.schedule.model_copy(update={"tries": 1})  # no gentler cut than the one that is accepted elsewhere
    run_round(tmp_path, "r1", "baseline", settings=PRUNE.model_copy(update={"max_drop": 0.0, "schedule": once}))
    run_round(tmp_path, "r2", "r1")
    job = evaluate_job(tmp_path, ("baseline", "r1", "r2"))
    evaluate.run(job, run=RUN, evaluate=_ATTACKED, max_length=16)
    evaluate.measure(job, run=RUN, evaluate=_ATTACKED, max_length=16)
    metrics, latency = read(tmp_path, "metrics.json"), read(tmp_path, "latency.json")
    r1, tried = metrics["rounds"]["r1"], load(tmp_path / "models/r1/tried")
    assert r1["accepted"] is False
    assert r1["params"] == sum(parameter.numel() for parameter in tried.parameters()) < metrics["baseline"]["params"]
    assert r1["macro_f1"] == read(finished, "metrics.json")["rounds"]["r1"]["macro_f1"], "the same cut, accepted there"
    assert metrics["rounds"]["r2"] == {"accepted": False}
    assert {row["checkpoint"] for row in latency["results"]} == {"baseline", "r1"}
    assert latency["weights"]["r1"] == read_card(tmp_path / "models/r1/tried")["weights_sha256"]
    verify(tmp_path / "models/r1")


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


def test_scores_under_attack_are_those_of_the_details(finished):
    metrics, details = read(finished, "metrics.json")["rounds"]["r1"], read(finished, "details.json")
    found = details["models"]["r1"]["robustness"]
    assert set(found["attacks"]) == {"typos", "deletion", "gradient"}
    scores = [attack["macro_f1"] for attack in found["attacks"].values()]
    assert metrics["robust_macro_f1"] == pytest.approx(sum(scores) / 3)
    assert metrics["robust_drop"] == pytest.approx(found["clean"]["macro_f1"] - sum(scores) / 3)
    assert found["attacks"]["gradient"]["macro_f1"] < found["clean"]["macro_f1"]
    assert details["robustness"]["rows"] == 24


def test_the_torch_checkpoint_is_its_own_deployed_form(finished):
    metrics = read(finished, "metrics.json")["baseline"]
    assert read(finished, "details.json")["deployed"] == "torch"
    assert metrics["deployed_bytes"] == folder_bytes(finished / "models/baseline")
    assert metrics["deployed_macro_f1"] == metrics["macro_f1"], "fp32 in both"


def test_no_rows_under_attack_no_scores(finished):
    off = _ATTACKED.robustness.model_copy(update={"rows": 0})
    evaluated(finished, robustness=off)
    assert set(read(finished, "metrics.json")["baseline"]) == _NUMBERS - {"robust_macro_f1", "robust_drop"}
    assert "robustness" not in read(finished, "details.json")["models"]["baseline"]
    evaluated(finished)


@pytest.fixture(scope="module")
def deployed_as_int8(finished):
    """The same run in int8; exports are kept where the effect says, and those of other weights leave."""
    job = evaluate_job(finished, ("baseline", "r1"))
    exports = finished / "exports"
    (exports / "0123-4567-onnx").mkdir(parents=True)
    job = dataclasses.replace(job, effects={**job.effects, "exports": exports})
    off = _ATTACKED.robustness.model_copy(update={"rows": 0})
    settings = _ATTACKED.model_copy(update={"deployed": "onnx-int8", "robustness": off})
    evaluate.run(job, run=RUN, evaluate=settings, max_length=16)
    metrics = read(finished, "metrics.json")
    evaluate.measure(job, run=RUN, evaluate=settings, max_length=16)
    evaluated(finished)
    return metrics, exports


def test_int8_is_scored_and_weighed_as_it_is_deployed(finished, deployed_as_int8):
    metrics, exports = deployed_as_int8
    entry = metrics["rounds"]["r1"]
    weights = read_card(finished / "models/r1")["weights_sha256"][:16]
    [folder] = exports.glob(f"{weights}-*-onnx-int8")
    assert entry["deployed_bytes"] == folder_bytes(folder)
    assert entry["deployed_macro_f1"] == pytest.approx(entry["macro_f1"], abs=0.15)
    assert read_card(folder)["runtime"] == "onnx-int8"


def test_int8_is_scored_row_by_row_as_it_is_served(finished, deployed_as_int8):
    metrics, exports = deployed_as_int8
    weights = read_card(finished / "models/r1")["weights_sha256"][:16]
    [folder] = exports.glob(f"{weights}-*-onnx-int8")
    rows = pq.read_table(finished / "test.parquet")
    served = Predictor.load(folder, num_threads=1).predict(rows["text"].to_pylist())
    names = read_card(finished / "models/r1")["labels"]
    counts = confusion(rows["label"].to_numpy(), np.array([names.index(one.label) for one in served]), num_labels=2)
    assert metrics["rounds"]["r1"]["deployed_macro_f1"] == float(macro_f1(counts))


@pytest.mark.parametrize(("runtime", "most"), [("onnx-int8", 1), ("onnx", 16)])
def test_rows_of_int8_share_no_call(monkeypatch, tmp_path, runtime, most):
    calls = []

    def runner(ids, *_):
        calls.append(len(ids))
        return np.zeros((len(ids), 2), dtype=np.float32)

    monkeypatch.setattr(deployed, "exported_folder", lambda *_, **__: tmp_path)
    monkeypatch.setattr(deployed, "open_folder", lambda *_, **__: runner)
    nothing = np.zeros(20, dtype=np.int64)
    rows = TokenRows(np.ones(60, dtype=np.int32), 3 * np.arange(21), labels=nothing, rows=nothing)
    deployed.evaluate_deployed(tmp_path, rows, runtime=runtime, batch_size=16, num_threads=1, workdir=tmp_path)
    assert (max(calls), sum(calls)) == (most, 20)


def test_exports_of_other_weights_are_removed(deployed_as_int8):
    _, exports = deployed_as_int8
    assert len(list(exports.iterdir())) == 4, "fp32 and int8 of two models"


def test_a_model_is_read_with_its_own_tokenizer(finished, tmp_path):
    """A round whose vocabulary lost a word reads that word as unknown."""
    write_inputs_of(finished, tmp_path)
    tokenizer = load_tokenizer(tmp_path / "models/r1")
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    vocab = state["model"]["vocab"]
    vocab["good"], vocab["bad"] = vocab["bad"], vocab["good"]
    tokenizer._tokenizer = type(tokenizer.backend_tokenizer).from_str(json.dumps(state))
    card = read_card(tmp_path / "models/r1")
    model = load(tmp_path / "models/r1")
    remove(tmp_path / "models/r1")
    save(model, tokenizer, tmp_path / "models/r1", card=card, check_reload=False)
    evaluated(tmp_path)
    before, after = (pq.read_table(root / "p.parquet").to_pydict() for root in (finished, tmp_path))
    texts = pq.read_table(finished / "test.parquet")["text"].to_pylist()
    differs = [text for text, a, b in zip(texts, before["r1"], after["r1"], strict=True) if a != b]
    assert after["baseline"] == before["baseline"]
    assert differs
    assert all({"good", "bad"} & set(text.split()) for text in differs)


def test_plot_has_one_line_per_model(finished):
    with (finished / "quality.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["baseline", "r1"]
    assert float(rows[1]["macro_f1"]) == read(finished, "metrics.json")["rounds"]["r1"]["macro_f1"]


def test_same_inputs_same_bytes(finished):
    names = ("metrics.json", "details.json", "p.parquet", "quality.csv")
    before = [(finished / name).read_bytes() for name in names]
    evaluated(finished)
    assert [(finished / name).read_bytes() for name in names] == before


def test_latency_is_measured_once_per_weights_and_settings(finished, monkeypatch):
    job = evaluate_job(finished, ("baseline", "r1"))
    arguments = {"run": RUN, "evaluate": EVALUATE, "max_length": 16}
    evaluate.measure(job, **arguments)
    evaluated(finished)  # the line above cleared the outputs
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
    monkeypatch.setattr("secateur.inference.latency.bench", lambda *_, **__: calls.append(1) or [])
    evaluate.measure(job, **arguments)
    assert calls == []
    slower = EVALUATE.latency.model_copy(update={"repeats": 4})
    evaluate.measure(job, run=RUN, evaluate=EVALUATE.model_copy(update={"latency": slower}), max_length=16)
    assert calls == [1]


def test_logistic_regression_is_scored_on_the_same_rows_where_it_is_asked_for(finished):
    before = read(finished, "metrics.json")
    job = evaluate_job(finished, ("baseline", "r1"))
    tables = {part: finished / f"{part}.parquet" for part in ("train", "validation")}
    job = dataclasses.replace(job, inputs={**job.inputs, **tables})
    evaluate.run(job, run=RUN, evaluate=_ATTACKED.model_copy(update={"reference": True}), max_length=16)
    found = read(finished, "metrics.json")
    reference = found.pop("reference")
    assert found == before
    scores = {f"{name}{end}" for name in ("accuracy", "macro_f1") for end in ("", "_low", "_high")}
    assert set(reference) == scores | {"validation_macro_f1", "only_model", "only_reference", "p_value", "most_gained"}
    assert reference["accuracy"] > 0.9, "one telling word per row"
    details = read(finished, "details.json")
    assert details["reference"].startswith("logistic regression (C=")
    assert details["reference"].endswith("on TF-IDF of 1 to 2 words and 1 to 4 characters")
    assert f"{details['reference']} (macro-F1 {reference['macro_f1']:.4f} against" in details["reference_verdict"]
    evaluated(finished)
