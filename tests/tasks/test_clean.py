import hashlib
import json
import random

import pyarrow.parquet as pq
import pytest

from secateur.config.clean import CleanSection
from secateur.data.near_duplicates import jaccard
from secateur.errors import DataError
from secateur.files import write_json
from tasks import clean as task
from tasks.job import Job
from tests.tasks.test_ingest import section

OUTPUTS = {
    "train": ".parquet",
    "validation": ".parquet",
    "test": ".parquet",
    "labels": ".json",
    "text_rules": ".json",
    "report": ".json",
}
SYLLABLES = ["ka", "lo", "mi", "tu", "re", "so", "ban", "del", "fir", "gon", "hes", "jur", "kly", "nop", "好", "店"]


def settings(**changes):
    values = {
        "repair_encoding": True,
        "normalization": "NFKC",
        "mask_handles": True,
        "mask_links": True,
        "min_chars": 3,
        "max_chars": 200,
        "min_confidence": 0.5,
        "label_conflicts": "majority",
        "near_duplicate_threshold": 0.8,
        "validation_fraction": 0.1,
        "test_fraction": 0.2,
        "max_train_rows": None,
        "max_validation_rows": None,
    }
    return CleanSection.model_validate(values | changes)


def raw_folder(path, labels, *, num_rows, seed=0):
    """Rows of which every seventh is nearly its predecessor."""
    draw = random.Random(seed)
    lines, words = [], []
    for i in range(num_rows):
        words = [*words[:-1], "again"] if i % 7 == 6 else ["".join(draw.choices(SYLLABLES, k=3)) for _ in range(9)]
        lines.append(json.dumps({"text": " ".join(words), "tone": labels[i % len(labels)]}))
    path.mkdir(parents=True)
    (path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    write_json(path / "provenance.json", {"file": "rows.jsonl", "format": "jsonl", "encoding": "utf-8"})
    return path


def clean(raw, out, *, seed=0, **changes):
    job = Job("clean", "key", {"raw": raw}, {name: out / f"{name}{ending}" for name, ending in OUTPUTS.items()})
    task.run(job, ingest=section("rows.jsonl"), clean=settings(**changes), seed=seed)
    return job.outputs


def digests(outputs):
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in outputs.items()}


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["good", "bad"], ["bad", "good"]),
        ([10, 9, 1.0], ["1", "9", "10"]),
        ([True, False], ["false", "true"]),
        (["e", "d", "c", "b", "a"], ["a", "b", "c", "d", "e"]),
    ],
)
def test_the_outputs_agree_with_each_other(tmp_path, labels, names):
    outputs = clean(raw_folder(tmp_path / "raw", labels, num_rows=300), tmp_path)
    assert json.loads(outputs["labels"].read_text(encoding="utf-8")) == names
    parts = {name: pq.read_table(outputs[name]) for name in ("train", "validation", "test")}
    for part in parts.values():
        assert [str(field.type) for field in part.schema] == ["string", "int64", "int64"]
        assert part.column_names == ["text", "label", "row"]
        assert set(part["label"].to_pylist()) == set(range(len(names)))
    report = json.loads(outputs["report"].read_text(encoding="utf-8"))
    assert report["rows"]["kept"] == sum(part.num_rows for part in parts.values())
    assert {name: report["rows"][name] for name in parts} == {name: part.num_rows for name, part in parts.items()}
    gone = sum(rule["rows"] for rule in report["rules"] if rule["effect"] == "dropped")
    assert report["rows"]["read"] == 300 == report["rows"]["kept"] + gone
    assert sum(report["length_chars"]["counts"]) == report["rows"]["kept"]


def test_nothing_in_one_part_is_nearly_in_another(tmp_path):
    outputs = clean(raw_folder(tmp_path / "raw", ["a", "b"], num_rows=200), tmp_path)
    train, validation, test = (
        [text.casefold() for text in pq.read_table(outputs[name])["text"].to_pylist()]
        for name in ("train", "validation", "test")
    )
    for left, right in ((train, validation), (train, test), (validation, test)):
        assert max(jaccard(a, b) for a in left for b in right) < 0.8
    report = json.loads(outputs["report"].read_text(encoding="utf-8"))
    assert next(rule["rows"] for rule in report["rules"] if rule["rule"] == "near_duplicates") > 15


def test_the_row_leads_back_to_the_source(tmp_path):
    raw = raw_folder(tmp_path / "raw", ["a", "b"], num_rows=100)
    source = [json.loads(line)["text"] for line in (raw / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in pq.read_table(clean(raw, tmp_path)["train"]).to_pylist():
        assert source[row["row"]].startswith(row["text"])


def test_same_seed_same_bytes_whatever_the_processes(tmp_path, monkeypatch):
    raw = raw_folder(tmp_path / "raw", ["a", "b", "c"], num_rows=300)
    once = digests(clean(raw, tmp_path / "once"))
    monkeypatch.setattr("secateur.data.parallel._MIN_ROWS", 1)
    monkeypatch.setattr("secateur.data.parallel._CHUNK_ROWS", 90)
    monkeypatch.setattr(task, "_num_proc", lambda: 2)
    assert digests(clean(raw, tmp_path / "again")) == once
    other = digests(clean(raw, tmp_path / "other", seed=1))
    assert other["test"] != once["test"] and other["labels"] == once["labels"]


def test_caps_keep_the_shares_and_are_reported(tmp_path):
    raw = raw_folder(tmp_path / "raw", ["a", "a", "b"], num_rows=300)
    outputs = clean(raw, tmp_path, max_train_rows=60, max_validation_rows=9)
    report = json.loads(outputs["report"].read_text(encoding="utf-8"))
    assert (report["rows"]["train"], report["rows"]["validation"]) == (60, 9)
    assert report["labels"]["a"]["train"] == pytest.approx(40, abs=3)
    capped = {rule["rule"]: rule["rows"] for rule in report["rules"] if rule["rule"].startswith("max_")}
    assert capped["max_train_rows"] > 50 and capped["max_validation_rows"] > 5


@pytest.mark.parametrize(
    ("labels", "changes", "message"),
    [
        (["a"], {}, "all 35 rows have the label 'a' after cleaning; .* or relax the rules under clean"),
        (["a"] * 39 + ["b"], {"near_duplicate_threshold": 1.0}, "label 'b' has 1 row after cleaning; .*needs 3"),
        (["a", "b"], {"min_chars": 200}, r"no row is left after cleaning: .* by the rule min_chars"),
    ],
)
def test_too_little_left_is_said_in_one_line(tmp_path, labels, changes, message):
    with pytest.raises(DataError, match=message):
        clean(raw_folder(tmp_path / "raw", labels, num_rows=40), tmp_path, **changes)


def test_a_folder_that_ingest_did_not_write_is_refused(tmp_path):
    (tmp_path / "raw").mkdir()
    with pytest.raises(DataError, match=r"raw has no provenance.json; it was not written by the stage ingest"):
        clean(tmp_path / "raw", tmp_path)
