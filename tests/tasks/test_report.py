"""The stage body: files in, one page out."""

import csv
import json
from pathlib import Path

import pytest

from secateur.config.report import ReportSection
from secateur.errors import CheckpointError, DataError, ProjectError
from secateur.workflow.job import Job
from tasks.report import measure
from tests.unit.report.run_fixture import WIDTHS, report_data

SECTION = ReportSection(title="A title", max_examples=5)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A finished run on disk, without registered versions."""
    data = report_data()
    inputs = {}
    for name in ("metrics", "details", "data"):
        inputs[name] = tmp_path / f"{name}.json"
        inputs[name].write_text(json.dumps(getattr(data, name)), encoding="utf-8")
    for name in WIDTHS:
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / "card.json").write_text(json.dumps(data.cards[name].as_json()), encoding="utf-8")
        history = tmp_path / f"{name}.csv"
        rows = data.histories[name]
        with history.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        inputs |= {f"model.{name}": folder, f"history.{name}": history}
    latency = tmp_path / "latency.json"
    latency.write_text(json.dumps(data.latency), encoding="utf-8")
    effects = {"page": tmp_path / "out" / "report.html", "latency": latency, "registered": tmp_path / "registered.json"}
    return Job(stage="report", key="0" * 64, inputs=inputs, outputs={}, effects=effects)


def test_writes_one_page_with_everything(job):
    measure(job, report=SECTION)
    page = job.effects["page"].read_text(encoding="utf-8")
    assert "<title>A title</title>" in page
    assert "2.3× as fast as dense in ONNX" in page
    assert page.count("<svg") == 5
    assert [path.name for path in job.effects["page"].parent.iterdir()] == ["report.html"]


def test_second_run_writes_the_same_bytes_and_no_path(job, tmp_path):
    measure(job, report=SECTION)
    first = job.effects["page"].read_bytes()
    measure(job, report=SECTION)
    assert job.effects["page"].read_bytes() == first
    assert str(tmp_path).encode() not in first


def test_missing_latency_is_no_error(job):
    job.effects["latency"].unlink()
    measure(job, report=SECTION)
    assert "No times were measured" in job.effects["page"].read_text(encoding="utf-8")


def test_registered_versions_are_shown_when_they_exist(job):
    registered = {"model": "tweets", "versions": {"baseline": 7}}
    job.effects["registered"].write_text(json.dumps(registered), encoding="utf-8")
    measure(job, report=SECTION)
    assert "tweets: dense is version 7" in job.effects["page"].read_text(encoding="utf-8")


def test_history_of_a_skipped_round_may_be_empty(job):
    job.inputs["history.r3"].write_text("step,epoch,validation_macro_f1\n", encoding="utf-8")
    measure(job, report=SECTION)
    assert job.effects["page"].exists()


def test_folder_without_card(job):
    (job.inputs["model.r2"] / "card.json").unlink()
    with pytest.raises(CheckpointError, match=r"r2 is not a checkpoint: it has no card\.json"):
        measure(job, report=SECTION)
    assert not job.effects["page"].exists()


def test_missing_file(job):
    job.inputs["metrics"].unlink()
    with pytest.raises(ProjectError, match=r"metrics\.json does not exist; run the stage that writes it first"):
        measure(job, report=SECTION)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("details", "{", r"details\.json is not JSON"),
        ("details", "[]", r"details\.json holds a list, not an object"),
        ("history.r1", "epoch,train_loss\n1,much\n", r"r1\.csv holds something that is not a number"),
        ("history.r1", "epoch,train_loss\n1,2,3\n", r"r1\.csv holds something that is not a number"),
    ],
)
def test_broken_file(job, name, content, message):
    job.inputs[name].write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        measure(job, report=SECTION)
