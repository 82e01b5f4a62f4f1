import hashlib
import json
import random
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from secateur.config.clean import CleanSection
from secateur.data.near_duplicates import jaccard
from secateur.errors import DataError
from secateur.files import write_json
from secateur.workflow.job import Job
from tasks import clean as task
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


def clean(raw, out, *, seed=0, reading=None, **changes):
    job = Job("clean", "key", {"raw": raw}, {name: out / f"{name}{ending}" for name, ending in OUTPUTS.items()})
    task.run(job, ingest=section("rows.jsonl", **(reading or {})), clean=settings(**changes), seed=seed)
    return job.outputs


def digests(outputs):
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in outputs.items()}


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["good", "bad"], ["bad", "good"]),
        ([10, 9, 1.0], ["1", "9", "10"]),
        ([True, False], ["False", "True"]),
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
    monkeypatch.setattr("secateur.data.parts.num_processes", lambda: 2)
    assert digests(clean(raw, tmp_path / "again")) == once
    other = digests(clean(raw, tmp_path / "other", seed=1))
    assert other["test"] != once["test"] and other["labels"] == once["labels"]


@pytest.mark.parametrize("changes", [{}, {"split_by": "content"}, {"near_duplicate_threshold": 1.0}])
def test_the_same_bytes_whatever_the_shards(tmp_path, changes):
    raw = raw_folder(tmp_path / "raw", ["a", "b", "c"], num_rows=300)
    one, two, three = (digests(clean(raw, tmp_path / str(count), shards=count, **changes)) for count in (1, 2, 3))
    assert one == two == three


@pytest.mark.parametrize("shards", [0, 1001, 1.5, "two"])
def test_shards_that_nobody_can_make_are_refused(shards):
    with pytest.raises(ValueError, match="shards"):
        settings(shards=shards)


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


def rows_as(path, rows):
    path.mkdir(parents=True)
    lines = [json.dumps({"text": text, "tone": label}) for text, label in rows]
    (path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    write_json(path / "provenance.json", {"file": "rows.jsonl", "format": "jsonl", "encoding": "utf-8"})
    return path


def words(number):
    draw = random.Random(number)
    return " ".join("".join(draw.choices(SYLLABLES, k=3)) for _ in range(9))


def report_of(outputs):
    return json.loads(outputs["report"].read_text(encoding="utf-8"))


def test_the_rows_that_are_given_to_test_are_the_test_set_and_nothing_else(tmp_path):
    raw = rows_as(tmp_path / "raw", [(words(i), "ab"[i % 2]) for i in range(60)])
    # Two rows twice, one of them also among those that train; a label that is not known there is absent.
    given = [(words(i), "ab"[i % 2]) for i in (*range(100, 118), 100, 7)]
    (raw / "test.jsonl").write_text("\n".join(json.dumps({"text": t, "tone": x}) for t, x in given), encoding="utf-8")
    record = json.loads((raw / "provenance.json").read_text())
    record["test"] = [{"file": "test.jsonl", "format": "jsonl", "encoding": "utf-8"}]
    write_json(raw / "provenance.json", record)
    outputs = clean(raw, tmp_path)
    test = pq.read_table(outputs["test"])
    assert test["text"].to_pylist() == [text for text, _ in given]
    assert test["row"].to_pylist() == list(range(60, 80))
    learned = [t for part in ("train", "validation") for t in pq.read_table(outputs[part])["text"].to_pylist()]
    assert len(learned) == 59 and not set(learned) & {text for text, _ in given}
    assert report_of(outputs)["rows"]["test"] == 20
    assert "texts of rows that judge 1" in report_of(outputs)["remarks"][0]


def test_what_cleaning_took_is_told_by_its_parameter(tmp_path):
    rows = [(words(i), "ab"[i % 2]) for i in range(40)]
    rows += [(words(i)[:4], "c") for i in range(10)] + [(words(i), "c") for i in range(50, 54)]
    outputs = clean(rows_as(tmp_path / "raw", rows), tmp_path, min_chars=5)
    told = report_of(outputs)["remarks"]
    assert told[0] == "44 of 54 rows stay; dropped: clean.min_chars 10"
    assert told[1] == "clean.min_chars took 10 of 14 rows of the label 'c'"
    rules = {(rule["rule"], rule["effect"]): rule for rule in report_of(outputs)["rules"]}
    assert rules["min_chars", "dropped"]["labels"] == {"c": 10}


def test_a_label_that_vanishes_names_the_rule_that_took_it(tmp_path):
    rows = [(words(i), "ab"[i % 2]) for i in range(40)] + [(words(i)[:4], "c") for i in range(10)]
    with pytest.raises(DataError, match=r"no row of the label 'c': clean.min_chars took 10 of 10 rows of 'c'; relax"):
        clean(rows_as(tmp_path / "raw", rows), tmp_path, min_chars=5)
    rows += [(words(99), "c")]
    with pytest.raises(DataError, match=r"label 'c' has 1 row after cleaning; .*clean.min_chars took 10 of 11 rows of"):
        clean(rows_as(tmp_path / "again", rows), tmp_path, min_chars=5)


def test_a_form_letter_with_three_labels_keeps_its_rows_and_is_told(tmp_path):
    letter = "Dear team, I write about my order {}: the tracking page says that the parcel is {}. Kind regards, {}"
    rows = [(letter.format(100 + i, ["fine", "find", "fire"][i % 3], 7 * i), "abc"[i % 3]) for i in range(90)]
    outputs = clean(rows_as(tmp_path / "raw", rows), tmp_path)
    report = report_of(outputs)
    assert report["rows"]["kept"] == 90 and set(report["labels"]) == {"a", "b", "c"}
    assert any("near copies with other labels: all stay" in line for line in report["remarks"])


def texts_of(outputs):
    return {part: pq.read_table(outputs[part])["text"].to_pylist() for part in ("train", "validation", "test")}


def with_fields(path, rows):
    raw = rows_as(path, [])
    (raw / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return raw


def test_a_column_says_which_rows_train_validate_and_test(tmp_path):
    said = {0: "Test", 1: " val ", 2: "train", 3: "train", 4: "train", 5: None}
    rows = [{"text": words(i), "tone": "ab"[i // 6 % 2], "fold": said[i % 6]} for i in range(120)]
    rows.append({"text": words(0) + " x", "tone": "a", "fold": "dev"})  # nearly a test row, which stays
    outputs = clean(with_fields(tmp_path / "raw", rows), tmp_path, reading={"split_column": "fold"})
    texts = texts_of(outputs)
    for part, kept in (("test", (0,)), ("validation", (1,)), ("train", (2, 3, 4))):
        assert texts[part] == [row["text"] for i, row in enumerate(rows[:120]) if i % 6 in kept]
    assert pq.read_table(outputs["test"])["row"].to_pylist() == list(range(0, 120, 6))
    told = " ".join(report_of(outputs)["remarks"])
    assert "near copies of rows that judge (clean.near_duplicate_threshold) (validation) 1" in told


def test_a_part_that_nobody_knows_is_refused(tmp_path):
    rows = [{"text": words(i), "tone": "ab"[i % 2], "fold": "ABC"[i % 3]} for i in range(30)]
    with pytest.raises(DataError, match=r"ingest.split_column=fold holds 'A', 'B', 'C'; it takes train, validation"):
        clean(with_fields(tmp_path / "raw", rows), tmp_path, reading={"split_column": "fold"})


def test_an_author_is_in_one_part(tmp_path):
    rows = [{"text": words(i), "tone": "ab"[i % 2], "author": i % 30} for i in range(300)]
    outputs = clean(with_fields(tmp_path / "raw", rows), tmp_path, reading={"group_column": "author"})
    authors = {part: {rows[i]["author"] for i in pq.read_table(outputs[part])["row"].to_pylist()} for part in outputs
               if part in ("train", "validation", "test")}  # fmt: skip
    assert sum(len(names) for names in authors.values()) == 30 and all(authors.values())


def test_the_latest_rows_test_and_what_was_the_boundary_is_told(tmp_path):
    days = [f"2024-01-{1 + i * 7 % 30:02}" for i in range(300)]
    rows = [{"text": words(i), "tone": "ab"[i % 2], "author": i, "day": days[i]} for i in range(300)]
    rows += [{"text": words(i), "tone": "a", "author": i, "day": None} for i in range(300, 304)]
    rows[0]["author"] = rows[13]["author"]  # of the 1st and of the 2nd: both train
    late = next(i for i, day in enumerate(days) if day == "2024-01-30")
    rows[1]["author"] = rows[late]["author"]  # of the 8th, and of the 30th
    raw = with_fields(tmp_path / "raw", rows)
    outputs = clean(raw, tmp_path, reading={"time_column": "day", "group_column": "author"})
    found = {part: pq.read_table(outputs[part])["row"].to_pylist() for part in ("train", "validation", "test")}
    assert {part: len(rows) for part, rows in found.items()} == {"train": 209, "validation": 30, "test": 60}
    assert {days[i] for i in found["test"]} == {f"2024-01-{day}" for day in range(25, 31)}
    assert 1 not in found["train"]
    report = report_of(outputs)
    assert report["starts"] == {"validation": "2024-01-22", "test": "2024-01-25"}
    assert report["remarks"][:2] == [
        "by ingest.time_column=day 209 rows before 2024-01-22 train, 30 from 2024-01-22 on validate, 60 from "
        "2024-01-25 on test",
        "1 row is of a group that stands in a later part, too: left out, so that nothing is learned of those that "
        "judge",
    ]
    assert "dropped: ingest.time_column 4" in " ".join(report["remarks"])


def test_rows_that_are_added_move_no_row_between_train_and_test(tmp_path):
    rows = [(words(i), "ab"[i % 2]) for i in range(200)]
    before = texts_of(clean(rows_as(tmp_path / "before", rows), tmp_path / "b", split_by="content"))
    more = [*rows, *((words(i), "ab"[i % 2]) for i in range(200, 350))]
    after = texts_of(clean(rows_as(tmp_path / "after", more), tmp_path / "a", split_by="content"))
    for part, texts in before.items():
        assert len(texts) > 5 and set(texts) <= set(after[part])


@pytest.mark.parametrize(("how", "names"), [("drop", ["a", "b"]), ("merge", ["a", "b", "other"])])
def test_rare_labels_are_settled_where_they_would_be_refused(tmp_path, how, names):
    rows = [(words(i), "ab"[i % 2]) for i in range(60)] + [(words(100 + i), f"rare {i // 2}") for i in range(10)]
    raw = rows_as(tmp_path / "raw", rows)
    with pytest.raises(DataError, match="rare 0' has 2 rows"):
        clean(raw, tmp_path / "refused")
    outputs = clean(raw, tmp_path / how, reading={"rare_labels": how})
    assert json.loads(outputs["labels"].read_text(encoding="utf-8")) == names
    assert report_of(outputs)["rows"]["kept"] == (60 if how == "drop" else 70)
    assert any("labels of fewer than 3 rows" in remark for remark in report_of(outputs)["remarks"])


def test_cleaning_leaves_the_room_that_torch_takes_to_the_rows():
    named = "secateur.data.rows_in_parts, secateur.data.acquisition, secateur.workflow.remarks, secateur.data.survey"
    asked = f"import {named}, secateur.workflow.driver, tasks.clean, sys; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
