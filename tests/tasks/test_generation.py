"""``evaluate`` of generators: files in, numbers, texts and times out."""

import dataclasses
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from secateur.config.evaluate import GenerationSection
from secateur.errors import CheckpointError, ConfigError
from secateur.evaluation import generator_findings
from secateur.evaluation.deployed import folder_bytes
from secateur.files import write_json
from secateur.inference.prediction import Predictor
from secateur.inference.writing import Writer
from secateur.models.checkpoint import load, load_tokenizer, save
from tasks import evaluate
from tests.tasks.stage_chain import EVALUATE, RUN, evaluate_job
from tests.tiny_generators import CONTEXT, CONTROLS, write_generator
from tests.tiny_models import tiny_model, tiny_tokenizer

_RUN = RUN.model_copy(update={"task": "generation"})
_SETTINGS = EVALUATE.model_copy(
    update={
        "reference": True,
        "generation": GenerationSection(
            prompts=("", "酒店"), num_texts=3, max_tokens=12, temperature=1.0, top_p=0.95, num_samples=2, batches=(1, 2)
        ),
    }
)
_TEXTS = {
    "train": ["酒店很好", "酒店服务太坏了，不好。", "这个书很好", "房间不好", "服务很好，酒店房间很好。很好!", "坏"],
    "test": ["酒店房间好", "服务不好，酒店太坏了，这个酒店服务很坏很坏很坏很坏很坏", "书?"],
}
_NUMBERS = {
    "params", "nonembedding_params", "sparsity", "macs", "bytes", "compressed_bytes", "deployed_bytes", "loss",
    "perplexity", "perplexity_low", "perplexity_high",
    "char_perplexity", "char_perplexity_low", "char_perplexity_high",
    "distinct_1", "distinct_2", "distinct_3", "repetition", "copied",
    "control_accuracy", "control_accuracy_low", "control_accuracy_high",
}  # fmt: skip


def write_judge(folder, model=None):
    save(model or tiny_model("bert"), tiny_tokenizer(), folder, card={"key": "judge", "task": "classification",
         "weights": None}, check_reload=False)  # fmt: skip
    return folder


def job_of(root, *names):
    job = evaluate_job(root, names)
    return dataclasses.replace(job, inputs={**job.inputs, "train": root / "train.parquet", "judge": root / "judge"})


def evaluated(root, **changes):
    job = job_of(root, "baseline", "r1")
    settings = _SETTINGS.model_copy(update=changes)
    evaluate.run(job, run=_RUN, evaluate=settings, max_length=CONTEXT)
    return job


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("generation")
    for name, texts in _TEXTS.items():
        labels = [place % 2 for place in range(len(texts))]
        pq.write_table(pa.table({"text": texts, "label": labels, "row": range(len(texts))}), root / f"{name}.parquet")
    write_json(root / "labels.json", list(CONTROLS))
    write_generator(root / "models/baseline")
    write_generator(root / "models/r1", seed=1, stage="prune@r1")
    write_judge(root / "judge")
    evaluated(root)
    return root


def read(root, name):
    return json.loads((root / name).read_text())


def test_metrics_have_exactly_the_agreed_names_and_no_times(finished):
    metrics = read(finished, "metrics.json")
    assert set(metrics) == {"baseline", "rounds", "reference"}
    assert set(metrics["baseline"]) == _NUMBERS
    assert set(metrics["rounds"]["r1"]) == _NUMBERS | {
        "perplexity_change", "perplexity_change_low", "perplexity_change_high", "accepted",
    }  # fmt: skip
    assert metrics["rounds"]["r1"]["perplexity_change"] == pytest.approx(
        metrics["rounds"]["r1"]["perplexity"] / metrics["baseline"]["perplexity"] - 1
    )
    assert set(metrics["reference"]) == {
        "char_perplexity", "char_perplexity_low", "char_perplexity_high", "unknown_characters",
    }  # fmt: skip
    said = read(finished, "details.json")["reference_verdict"]
    better = metrics["reference"]["char_perplexity"] < metrics["baseline"]["char_perplexity"]
    assert better == said.startswith("Needed no network and is better than the dense model: character 5-gram model")
    assert metrics["reference"]["unknown_characters"] == pytest.approx(1 / sum(map(len, _TEXTS["test"])))


def test_perplexity_is_that_of_the_model_on_the_test_texts_with_their_control_tokens(finished):
    model, tokenizer = load(finished / "models/r1"), load_tokenizer(finished / "models/r1")
    loss, count = 0.0, 0
    for place in (0, 2):  # the long one is read in windows, which has a test of its own
        ids = [2, 4 + place % 2, *tokenizer(_TEXTS["test"][place])["input_ids"], 3]
        with torch.inference_mode():
            steps = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0].double(), dim=-1)
        loss -= sum(float(steps[at - 1, ids[at]]) for at in range(2, len(ids)))
        count += len(ids) - 2
    table = pq.read_table(finished / "p.parquet").to_pydict()
    assert list(table) == ["row", "characters", "tokens", "baseline", "r1"]
    assert table["r1"][0] + table["r1"][2] == pytest.approx(loss, rel=1e-5)
    assert table["tokens"][0] + table["tokens"][2] == count
    entry = read(finished, "metrics.json")["rounds"]["r1"]
    assert entry["perplexity"] == pytest.approx(math.exp(sum(table["r1"]) / sum(table["tokens"])))
    assert entry["perplexity_low"] <= entry["perplexity"] <= entry["perplexity_high"]
    assert entry["char_perplexity"] == pytest.approx(entry["perplexity"]), "one token per character"
    assert entry["deployed_bytes"] == folder_bytes(finished / "models/r1")


def test_samples_are_what_the_checkpoint_writes_and_the_judge_reads_them(finished):
    details = read(finished, "details.json")
    assert details["task"] == "generation"
    assert details["judge"]["chance"] == 0.5
    samples = details["models"]["r1"]["samples"]
    assert [(entry["label"], entry["prompt"]) for entry in samples] == [
        ("negative", ""), ("negative", "酒店"), ("positive", ""), ("positive", "酒店"),
    ]  # fmt: skip
    assert all(len(entry["sampled"]) == 2 for entry in samples)
    texts, _ = generator_findings.write_texts(
        Writer.load(finished / "models/r1"), settings=_SETTINGS.generation, seed=_RUN.seed
    )
    assert len(texts) == 12
    assert [text.text for text in texts[9:11]] == [entry["text"] for entry in samples[3]["sampled"]]
    said = Predictor.load(finished / "judge").predict([text.text for text in texts])
    hits = sum(found.label == text.label for found, text in zip(said, texts, strict=True))
    assert read(finished, "metrics.json")["rounds"]["r1"]["control_accuracy"] == pytest.approx(hits / 12)


def test_same_inputs_same_bytes(finished):
    names = ("metrics.json", "details.json", "p.parquet", "quality.csv")
    before = [(finished / name).read_bytes() for name in names]
    evaluated(finished)
    assert [(finished / name).read_bytes() for name in names] == before


def test_without_a_judge_and_a_reference_nothing_is_said_about_them(finished, tmp_path):
    job = job_of(finished, "baseline")
    inputs = {name: path for name, path in job.inputs.items() if name != "judge"}
    outputs = {name: tmp_path / path.name for name, path in job.outputs.items()}
    plain = dataclasses.replace(job, inputs=inputs, outputs=outputs)
    evaluate.run(plain, run=_RUN, evaluate=_SETTINGS.model_copy(update={"reference": False}), max_length=CONTEXT)
    metrics = read(tmp_path, "metrics.json")
    assert "reference" not in metrics
    assert set(metrics["baseline"]) == {name for name in _NUMBERS if not name.startswith("control")}
    evaluated(finished)  # the lines above cleared the outputs


def test_a_judge_that_does_not_know_the_labels_is_refused_before_any_compute(finished, tmp_path, monkeypatch):
    model = tiny_model("bert")
    model.config.id2label = dict(enumerate(["bad", "neutral", "positive"]))
    job = job_of(finished, "baseline")
    job = dataclasses.replace(job, inputs={**job.inputs, "judge": write_judge(tmp_path / "other", model)})
    monkeypatch.setattr(generator_findings, "document_losses", None)
    with pytest.raises(ConfigError, match=r"evaluate\.judge does not know negative; it tells bad, neutral, positive"):
        evaluate.run(job, run=_RUN, evaluate=_SETTINGS, max_length=CONTEXT)
    monkeypatch.undo()
    evaluated(finished)


def test_a_generator_is_no_classifier_and_the_other_way_round(finished):
    with pytest.raises(
        CheckpointError, match=r"baseline holds a generator, which knows no labels; `secateur generate`"
    ):
        Predictor.load(finished / "models/baseline")
    with pytest.raises(CheckpointError, match=r"judge holds a model for classification, which writes no text"):
        Writer.load(finished / "judge")


def test_times_are_per_token_and_per_second_and_measured_once(finished, monkeypatch):
    job = job_of(finished, "baseline", "r1")
    arguments = {"run": _RUN, "evaluate": _SETTINGS, "max_length": CONTEXT}
    evaluate.measure(job, **arguments)
    evaluated(finished)
    latency = read(finished, "latency.json")
    assert [(row["checkpoint"], row["runtime"]) for row in latency["results"]] == [
        ("baseline", "torch"),
        ("r1", "torch"),
    ]
    assert [(row["checkpoint"], row["batch"]) for row in latency["throughput"]] == [
        ("baseline", 1), ("baseline", 2), ("r1", 1), ("r1", 2),
    ]  # fmt: skip
    assert all(row["tokens_per_second"] > 0 for row in latency["throughput"])
    assert latency["throughput"][0]["speedup"] == 1.0
    monkeypatch.setattr("secateur.inference.latency.bench", lambda *_, **__: pytest.fail("measured before"))
    evaluate.measure(job, **arguments)


def test_the_deployed_form_writes_the_same_texts_and_is_timed_and_weighed(finished, tmp_path):
    """Exported once: what ``run`` leaves is what is timed."""
    for name in ("models", "judge", "train.parquet", "test.parquet", "labels.json"):
        (tmp_path / name).symlink_to(finished / name)
    settings = _SETTINGS.model_copy(update={"deployed": "onnx"})
    job = job_of(tmp_path, "baseline", "r1")
    job = dataclasses.replace(job, effects={**job.effects, "exports": tmp_path / "exports"})
    evaluate.run(job, run=_RUN, evaluate=settings, max_length=CONTEXT)
    theirs, ours = (read(root, "details.json")["models"]["r1"]["samples"] for root in (finished, tmp_path))
    assert ours == theirs
    entry = read(tmp_path, "metrics.json")["rounds"]["r1"]
    assert entry["deployed_bytes"] != read(finished, "metrics.json")["rounds"]["r1"]["deployed_bytes"]
    timed = _SETTINGS.latency.model_copy(update={"runtimes": ("torch", "onnx")})
    evaluate.measure(job, run=_RUN, evaluate=settings.model_copy(update={"latency": timed}), max_length=CONTEXT)
    results = read(tmp_path, "latency.json")["results"]
    assert [row["runtime"] for row in results] == ["torch", "onnx"] * 2
    assert all(row["median_ms"] > 0 for row in results)
