"""Real text of awkward kinds: each ends well, or with one clear line."""

from pathlib import Path

import pytest

from secateur.config.schema import RunConfig
from secateur.data.document_splitting import split_documents
from secateur.errors import DataError
from secateur.files import write_json
from secateur.models.checkpoint import read_card
from secateur.workflow.job import Job
from secateur.workflow.preflight import check_source
from tasks import clean, ingest
from tests.tasks.generation_chain import CONFIG, RUN, baseline_section
from tests.tasks.stage_chain import run_baseline
from tests.tiny import write_params

SENTENCES = [f"第{number}天,酒店的服务{'很好' if number % 2 else '很差'}。" for number in range(12)]


def config_of(root: Path, source: str, **changes) -> RunConfig:
    from secateur.workflow.params import read_config
    from secateur.workflow.project import Project

    text = {
        "run.task": "generation",
        "ingest.source": str(source),
        "ingest.format": "lines",
        "ingest.label_column": None,
        "clean.min_chars": 1,
        "clean.near_duplicate_threshold": 1.0,
        "prune.recovery.best_by": "perplexity",
        "baseline.model": f"scratch:{root / 'config.json'}",
        "evaluate.judge": None,
        **changes,
    }
    write_params(root / "params.yaml", text)
    return read_config(Project(root))


def cleaned(root: Path, text: str | bytes, name: str = "corpus.txt", **changes) -> Path:
    """Run ingest and clean on a corpus, and put their outputs where ``run_baseline`` reads."""
    source = root / name
    source.write_bytes(text if isinstance(text, bytes) else text.encode())
    write_json(root / "config.json", CONFIG)
    config = config_of(root, str(source), **changes)
    copied = {"raw": root / "raw", "base": root / "base"}
    ingest.run(
        Job("ingest", "key", {"source": source}, copied),
        ingest=config.ingest,
        model=config.baseline.model,
        model_revision=None,
        kind=config.run.task,
    )
    outputs = {name: root / f"{name}.parquet" for name in ("train", "validation", "test")}
    outputs |= {name: root / f"{name}.json" for name in ("labels", "text_rules", "report")}
    clean.run(Job("clean", "key", copied, outputs), ingest=config.ingest, clean=config.clean, seed=0, kind="generation")
    return root


def perplexity_after_training(root: Path) -> float:
    settings = baseline_section(control=False, epochs=1)
    run_baseline(root, settings=settings, run=RUN)
    return float(read_card(root / "models/baseline")["metrics"]["validation_perplexity"])


AWKWARD = {
    "lines of 10 000 characters": [chr(0x4E00 + number) * 3000 + "abc 好" * 1400 for number in range(4)],
    "emoji and joined emoji": [f"{sentence}👍🏽👨‍👩‍👧‍👦🇨🇳" for sentence in SENTENCES],
    "mixed scripts": [f"{sentence} מלון отель ホテル ۱۲۳ café" for sentence in SENTENCES],
    "a corpus smaller than one batch": SENTENCES[:3],
}


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_text_is_learned_from(tmp_path, name):
    cleaned(tmp_path, "\n\n \n".join(AWKWARD[name]) + "\n", **{"clean.max_chars": 400})
    assert 1.0 < perplexity_after_training(tmp_path) < 1000.0


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        ("好好好\n" * 50, r"rows left after cleaning: 1; .*most were dropped by the rule exact_duplicates: 49"),
        ("\n\n  \n", "corpus.txt has no line that is not blank"),
        ("", r"is empty \(0 bytes\)"),
        ("一行\n两行\n", "rows left after cleaning: 2; train, validation and test need one each"),
        (b"\xc4\xe3\xba", "corpus.txt is not UTF-8: .* set ingest.encoding"),
    ],
)
def test_what_cannot_be_learned_from_is_said_in_one_line(tmp_path, corpus, message):
    with pytest.raises(DataError, match=message) as caught:
        cleaned(tmp_path, corpus)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("none", ["a\nb\n\n \nc\r\n\r\nd"]),
        ("lines", ["a", "b", "c", "d"]),
        ("documents", ["a\nb", "c", "d"]),
    ],
)
def test_texts_are_taken_apart(at, expected):
    import pyarrow as pa

    raw = pa.table(
        {"text": ["a\nb\n\n \nc\r\n\r\nd", None], "label": ["x", "y"], "confidence": [0.5, 0.5], "row": [3, 4]}
    )
    found = split_documents(raw, at=at)
    kept = [row for row in found.to_pylist() if row["text"] is not None]
    assert [row["text"] for row in kept] == expected
    assert {(row["label"], row["row"]) for row in kept} == {("x", 3)}


def test_a_whole_file_is_documents_between_blank_lines(tmp_path):
    import pyarrow.parquet as pq

    text = "\n\n".join("\n".join(SENTENCES[start : start + 2]) for start in range(0, 12, 2))
    cleaned(tmp_path, text, **{"ingest.format": "text", "clean.split": "documents"})
    parts = [pq.read_table(tmp_path / f"{part}.parquet") for part in ("train", "validation", "test")]
    assert sum(part.num_rows for part in parts) == 6
    assert {" ".join(SENTENCES[0:2])} <= {text for part in parts for text in part["text"].to_pylist()}


def test_full_width_forms_are_folded_and_near_duplicates_found_without_spaces(tmp_path):
    import pyarrow.parquet as pq

    lines = [*SENTENCES, "Ａ酒店的位置非常好，房间也很干净！", "A酒店的位置非常好,房间也很干浄!"]
    changes = {"clean.near_duplicate_threshold": 0.7, "clean.near_duplicate_chars": 2}
    cleaned(tmp_path, "\n".join(lines), **changes)
    texts = [
        text
        for part in ("train", "validation", "test")
        for text in pq.read_table(tmp_path / f"{part}.parquet")["text"].to_pylist()
    ]
    assert [text for text in texts if "位置" in text] == ["A酒店的位置非常好,房间也很干净!"]


def test_two_files_become_two_labels(tmp_path):
    import json

    for name in ("pos", "neg"):
        (tmp_path / f"{name}.txt").write_text("\n".join(f"{name} {line}" for line in SENTENCES), encoding="utf-8")
    config = config_of(tmp_path, str(tmp_path / "{pos,neg}.txt"), **{"ingest.label_column": "file"})
    write_json(tmp_path / "config.json", CONFIG)
    check_source(config.ingest, kind="generation")
    outputs = {"raw": tmp_path / "raw", "base": tmp_path / "base"}
    ingest.run(
        Job("ingest", "key", {}, outputs), ingest=config.ingest, model=config.baseline.model, model_revision=None
    )
    record = json.loads((tmp_path / "raw/provenance.json").read_text())
    assert [entry["file"] for entry in record["files"]] == ["pos.txt", "neg.txt"]
    assert record["bytes"] == sum(entry["bytes"] for entry in record["files"])
    outputs = {name: tmp_path / f"{name}.parquet" for name in ("train", "validation", "test")}
    outputs |= {name: tmp_path / f"{name}.json" for name in ("labels", "text_rules", "report")}
    clean.run(Job("clean", "key", {"raw": tmp_path / "raw"}, outputs), ingest=config.ingest, clean=config.clean, seed=0)
    report = json.loads((tmp_path / "report.json").read_text())
    assert {name: sum(counts.values()) for name, counts in report["labels"].items()} == {"neg": 12, "pos": 12}
