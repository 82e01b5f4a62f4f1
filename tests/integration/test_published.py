"""``benchmarks.published``, ``bert_base`` and ``one_language`` on stand-ins: tiny models of the same families."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.bert_base import ratios, write_models
from benchmarks.one_language import cut_to, texts_of, trained
from benchmarks.published import PUBLISHED, SUBJECTS, as_table, named, run_all
from secateur.config.base import Runtime
from secateur.inference.latency import LatencyResult
from secateur.models.checkpoint import load, load_base, load_tokenizer
from secateur.models.surgery import widths_of
from tests.integration.in_process import output
from tests.tiny import write_bert, write_rows
from tests.tiny_tokenizers import CORPUS, TEXTS

QUICK = ("-S", "calibration_rows=16", "-S", "criteria.obs.search_trials=0", "-S", "ffn_multiple=8")


def test_rows_are_made_once_and_stand_beside_what_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secateur.models.checkpoint.run_reload_check", lambda *_: None)
    subject = replace(SUBJECTS[0], texts=("text",), keep=(0.5, 0.7))
    model = load_base(write_bert(tmp_path / "base"), labels=["negative", "positive"])
    dense = tmp_path / "models" / subject.model.replace("/", "--")
    model.save_pretrained(dense)
    load_tokenizer(tmp_path / "base").save_pretrained(dense)
    (tmp_path / "rows").mkdir()
    for part in ("train", "test"):
        write_rows(tmp_path / "rows" / f"BERT-base_SST2-{part}.csv", 40)
    asked: list[str] = []

    def run(arguments: Sequence[str]) -> str:
        asked.append(arguments[0])
        if len(asked) == 5:
            raise KeyboardInterrupt
        quick = {
            "prune": (*QUICK, "--threads", "1"),
            "bench": ("--repeats", "3", "--length", "8", "--runtime", "torch"),
        }
        given = [one for one in arguments if arguments[0] != "bench" or one not in ("--runtime", "onnx-int8")]
        return output(tmp_path, *given, *quick.get(arguments[0], ()))

    def go() -> list[dict[str, object]]:
        return run_all(
            [subject], models=tmp_path / "models", rows=tmp_path / "rows", epochs=0, run=run, work=tmp_path / "work"
        )

    with pytest.raises(KeyboardInterrupt):
        go()
    assert asked == ["prune", "evaluate", "evaluate", "bench", "prune"]
    with (tmp_path / "work/runs.jsonl").open("a") as file:
        file.write('{"subject": "BERT')  # killed while it wrote
    rows = go()
    assert asked[5:] == ["prune", "evaluate", "evaluate", "bench"]
    assert [row["keep"] for row in rows] == [0.5, 0.7]
    shown = as_table(rows)
    assert shown[0][:2] == ("BERT-base SST2", "0.500")
    assert shown[0][-1].startswith("CoFi 93.0")
    assert {row[0] for row in shown} == PUBLISHED.keys()
    assert all(row[1:5] == ("", "", "", "") for row in as_table([])), "nothing is shown that nobody measured"


def test_labels_get_the_names_of_the_model(tmp_path: Path) -> None:
    pq.write_table(pa.table({"sentence": ["a", 'b "c"'], "label": [1, 0], "idx": [0, 1]}), tmp_path / "x.parquet")
    found = named(tmp_path / "x.parquet", SUBJECTS[0], {"id2label": {"0": "no", "1": "yes"}})
    assert found.read_text().splitlines() == ["sentence,label", "a,yes", '"b ""c""",no']


def test_shapes_of_the_10x_rows_are_cut_and_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 400, "vocab_size": 60}
    folders = write_models(tmp_path, layers=2, **sizes)
    assert len(folders) == 5
    widths = widths_of(load(folders["CoFi 12.1x, gathered"]))
    assert (widths.heads, widths.ffn) == ((2, 2), (304, 304))
    dense, cut = folders["dense"], folders["ZipLM 15x, spread"]
    times = {dense: (40.0, 20.0, 10.0), cut: (4.0, 2.0, 1.0)}

    def timed(checkpoints: Sequence[Path], *, runtimes: Sequence[Runtime], **_: object) -> list[LatencyResult]:
        return [
            LatencyResult(folder, runtime, median_ms=ms, p95_ms=ms, speedup=1.0)
            for folder in checkpoints
            for runtime, ms in zip(runtimes, times[folder], strict=True)
        ]

    monkeypatch.setattr("benchmarks.bert_base.bench", timed)
    rows = ratios({"dense": dense, "cut": cut}, length=8, threads=1, repeats=3, workdir=tmp_path)
    assert [rows["cut"][name] for name in ("deployed", "from_torch", "alike")] == [20.0, 40.0, 10.0]


def test_a_vocabulary_of_scripts_is_cut_to_one(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"text": "a text of words"}, {"n": ["another  text", 3]}]')
    (tmp_path / "b.yml").write_text("talk:\n- - what is this\n  - too short\n")
    (tmp_path / "c.txt").write_text("a line of text\n")
    assert list(texts_of(tmp_path)) == ["a text of words", "another text", "what is this", "a line of text"]
    found = cut_to(trained(CORPUS, size=200), list(TEXTS[:1]), [*TEXTS[:1], *TEXTS[2:]], min_count=1, layers=1)
    assert found["tokens"] < 200
    assert (found["read_back_as_before"], found["unknown"]) == (1.0, found["unknown_before"])
    assert 0.0 < found["same_tokens"] < 1.0 < found["longer"]
