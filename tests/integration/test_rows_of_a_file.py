"""``predict --data`` and ``evaluate``: a finished model and somebody's file of rows."""

import csv
import datetime
import json
import math
import random
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from secateur.cli import cli, evaluation_display, prediction
from secateur.data.documents import TextRow, documents_of
from secateur.evaluation.perplexity import document_losses
from secateur.inference import answers
from secateur.inference.decoding import Sampling
from secateur.inference.prediction import Predictor
from secateur.inference.writing import Asked, Writer
from secateur.models.checkpoint import save
from secateur.serving.served import load as load_served
from tests.integration.in_process import digests, output, refused
from tests.tiny_generators import CONTEXT, write_generator
from tests.tiny_models import LABELS, tiny_model, tiny_tokenizer

RULES = {"repair_encoding": True, "normalization": "NFC", "mask_handles": True, "mask_links": True, "max_chars": 200}
SCORES = [f"predicted_score_{label}" for label in LABELS]
ADDED = ["predicted_label", "predicted_score", *SCORES]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of ours, the same as Hugging Face writes it without names, a generator, and a table of rows."""
    root = tmp_path_factory.mktemp("rows")
    model, tokenizer = tiny_model(), tiny_tokenizer()
    save(model, tokenizer, root / "ours", card={"max_length": 12, "text_rules": RULES}, check_reload=False)
    model.config.id2label = {index: f"LABEL_{index}" for index in range(3)}
    model.config.label2id = {label: index for index, label in model.config.id2label.items()}
    model.save_pretrained(root / "numbered")
    tokenizer.save_pretrained(root / "numbered")
    write_generator(root / "generator")
    return root


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "WINDOW", 7)
    monkeypatch.setattr("secateur.evaluation.row_scores.WINDOW", 7)


def table(count: int = 30) -> list[dict[str, Any]]:
    """Rows of any length, with columns that are nobody's business."""
    draw, words = random.Random(3), ["good", "bad", "day", "train", "very", "the", "a", "is"]
    return [
        {
            "id": 100 + number,
            "said": " ".join(draw.choices(words, k=draw.randint(1, 9))),
            "label": LABELS[number % 3],
            "shop": "north" if number % 4 else "south",
            "stars": number / 2,
        }
        for number in range(count)
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=11)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()  # type: ignore[no-any-return]
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(".csv", ".parquet"), (".tsv", ".csv"), (".jsonl", ".jsonl"), (".parquet", ".tsv"), (".parquet", ".parquet")],
)
def test_every_row_comes_back_with_all_its_columns_in_its_order(
    home: Path, tmp_path: Path, given: str, wanted: str
) -> None:
    rows = table()
    data, out = write(tmp_path / f"rows{given}", rows), tmp_path / f"out{wanted}"
    told = json.loads(output(home, "predict", "ours", "--data", data, "--out", out, "--text-column", "said", "--json"))
    assert told == {
        "out": str(out),
        "rows": 30,
        "empty": 0,
        "cut": 0,
        "unanswered": {},
        "remarks": [],
        "long": 0,
        "windows": 0,
    }
    found = read(out)
    assert [list(row) for row in found] == [[*rows[0], *ADDED]] * 30
    typed = given in (".jsonl", ".parquet") and wanted in (".jsonl", ".parquet")
    kept = [{name: row[name] for name in rows[0]} for row in found]
    assert kept == (rows if typed else [{name: str(value) for name, value in row.items()} for row in rows])
    predictor = Predictor.load(home / "ours")
    for row, ours in zip(rows, found, strict=True):
        (alone,) = predictor.predict([row["said"]])
        assert ours["predicted_label"] == alone.label
        assert float(ours["predicted_score"]) == pytest.approx(alone.score, abs=1e-5)
        assert [float(ours[name]) for name in SCORES] == pytest.approx(list(alone.scores.values()), abs=1e-5)


def test_columns_of_any_type_stay_as_they_are(home: Path, tmp_path: Path) -> None:
    rows = [
        {"text": "good day", "at": datetime.datetime(2024, 5, 1, 12, 30), "price": Decimal("1.50"), "tags": ["a", "b"]},
        {"text": "bad day", "at": None, "price": None, "tags": None},
    ]
    data = write(tmp_path / "rows.parquet", rows)
    output(home, "predict", "ours", "--data", data, "--out", tmp_path / "out.parquet")
    assert pq.read_schema(tmp_path / "out.parquet").names == ["text", "at", "price", "tags", *ADDED]
    assert [{name: row[name] for name in rows[0]} for row in read(tmp_path / "out.parquet")] == rows
    output(home, "predict", "ours", "--data", data, "--out", tmp_path / "out.csv")
    assert [list(row.values())[1:4] for row in read(tmp_path / "out.csv")] == [
        ["2024-05-01 12:30:00", "1.50", '["a", "b"]'],
        ["", "", ""],
    ]
    mixed = [{"text": "good", "id": 1, "more": {"x": [1, 2]}}, {"id": "b2", "text": "bad\ud83d\ude00"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mixed))
    output(home, "predict", "ours", "--data", tmp_path / "rows.jsonl", "--out", tmp_path / "out.jsonl")
    found = [{name: row[name] for name in ("text", "id", "more")} for row in read(tmp_path / "out.jsonl")]
    assert found == [mixed[0], {"text": "bad😀", "id": "b2", "more": None}]


def test_int8_answers_a_row_of_a_file_as_it_answers_it_alone(home: Path, tmp_path: Path) -> None:
    rows, out = table(16), tmp_path / "out.parquet"
    data = write(tmp_path / "rows.csv", rows)
    output(home, "export", "ours", "--to", "onnx", "--int8", "--out", tmp_path / "int8")
    asked = ("--data", data, "--text-column", "said", "--threads", "1")
    output(home, "predict", "ours", *asked, "--runtime", "onnx-int8", "--out", out)
    output(home, "predict", tmp_path / "int8", *asked, "--out", tmp_path / "again.parquet")
    predictor = Predictor.load(tmp_path / "int8")
    alone = [list(predictor.predict([row["said"]])[0].scores.values()) for row in rows]
    for file in (out, tmp_path / "again.parquet"):
        assert [[row[name] for name in SCORES] for row in read(file)] == alone
    assert "holds a model for onnx-int8, asked for onnx" in str(
        refused(tmp_path, "predict", tmp_path / "int8", "--runtime", "onnx", "good")
    )


def test_a_text_that_is_empty_has_no_answer_and_is_told(home: Path, tmp_path: Path) -> None:
    rows = [{"text": text} for text in ["good", "", "  ", *["bad day"] * 8, None, "very " * 30]]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = ("predict", "ours", "--data", tmp_path / "rows.jsonl", "--out")
    told = json.loads(output(home, *asked, tmp_path / "out.jsonl", "--json"))
    assert (told["rows"], told["empty"], told["cut"]) == (13, 3, 1)
    assert told["remarks"] == [
        "3 rows have no text, and no answer (row 2, 3, 12)",
        "1 of 13 texts (7.7%) were cut at the 12 tokens that the model reads",
    ]
    labels = [row["predicted_label"] for row in read(tmp_path / "out.jsonl")]
    assert [label is None for label in labels] == [row["text"] is None or not row["text"].strip() for row in rows]
    (tmp_path / "empty.csv").write_text('text,id\n"",1\n" ",2\n')
    output(home, "predict", "ours", "--data", tmp_path / "empty.csv", "--out", tmp_path / "none.parquet")
    assert [list(row.values()) for row in read(tmp_path / "none.parquet")] == [
        ["", "1", *[None] * 5],
        [" ", "2", *[None] * 5],
    ]
    said = json.loads(output(home, "predict", "ours", "--json", "", "good"))
    assert said[0] == {"text": "", "label": None, "score": None, "reason": "the text is empty"}
    assert said[1]["label"] in LABELS


NO_DATA = {
    "no such column": ("id,text\n1,good\n", ("--text-column", "said"), "has no column 'said'; its columns are: id, te"),
    "a name that is taken": ("text,predicted_score\ngood,1\n", (), "has a column 'predicted_score' already; --prefix"),
    "two of one name": ("text,x,x\ngood,1,2\n", (), "rows.csv has 2 columns named 'x'; rename all but one"),
    "a cell too many": ("text,x\ngood,1\nbad,2,3\n", (), "line 3 cannot be read: it has 3 cells where the header"),
    "a stray quote": ('text,x\n"good,1\nbad,2\n', (), "cannot be read: a quote opens a cell that never closes"),
    "nothing": ("text,x\n", (), "rows.csv has no rows; there is nothing to answer"),
    "what a label cannot be told": ("text\ngood\n", ("-S", "seed=1"), "a model for classification takes no parameter"),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_DATA)
def test_what_cannot_be_answered_is_one_line_and_nothing_is_written(home: Path, tmp_path: Path, case: str) -> None:
    content, asked, message = NO_DATA[case]
    (tmp_path / "rows.csv").write_text(content)
    error = str(refused(tmp_path, "predict", home / "ours", "--data", "rows.csv", "--out", "out.csv", *asked))
    assert message in error


def test_a_taken_name_is_told_before_the_model_is_opened(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opens(*_: Any, **__: Any) -> None:
        raise AssertionError("the model was opened")

    monkeypatch.setattr(prediction, "opened", opens)
    (tmp_path / "rows.csv").write_text("text,old_label\ngood,1\n")
    asked = ("predict", home / "ours", "--data", "rows.csv", "--out", "out.csv", "--prefix", "old_")
    assert "rows.csv has a column 'old_label' already; --prefix old_new_" in str(refused(tmp_path, *asked))


def test_an_output_is_new_and_its_format_can_hold_the_columns(home: Path, tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", [{"text": "good", "raw": b"\x00"}])
    asked = ("predict", home / "ours", "--data", "rows.parquet", "--out")
    assert "--out rows.parquet exists already; name a new file" in str(refused(tmp_path, *asked, "rows.parquet"))
    assert "the ending says what is written; it must be one of .csv," in str(refused(tmp_path, *asked, "out.xlsx"))
    assert "column 'raw' holds bytes, which only .parquet can hold" in str(refused(tmp_path, *asked, "out.csv"))
    assert "there is no file 'gone.csv'" in str(
        refused(tmp_path, "predict", home / "ours", "--data", "gone.csv", "--out", "out.csv")
    )


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_what_is_broken_off_leaves_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    data, calls = write(tmp_path / "rows.csv", table()), []
    predict = Predictor.predict

    def interrupted(self: Predictor, texts: Any, **options: Any) -> Any:
        calls.append(len(texts))
        if len(calls) > 6:
            raise KeyboardInterrupt
        return predict(self, texts, **options)

    monkeypatch.setattr(Predictor, "predict", interrupted)
    before = digests(tmp_path)
    asked = [home / "ours", "--data", data, "--text-column", "said", "--out", tmp_path / f"out{ending}"]
    with pytest.raises(click.exceptions.Abort):
        cli.main(["predict", *map(str, asked)], standalone_mode=False)
    assert digests(tmp_path) == before
    assert max(calls) <= 7, "a window, and no more"


def test_a_generator_writes_on_from_every_row(home: Path, tmp_path: Path) -> None:
    prompts = ["酒店", "好", "", "酒店", "好" * (CONTEXT + 2)]
    write(tmp_path / "prompts.csv", [{"text": text, "id": number} for number, text in enumerate(prompts)])
    asked = ("predict", home / "generator", "--data", tmp_path / "prompts.csv")
    chosen = ("-S", "max_tokens=6", "-S", "seed=4", "-S", "control=positive")
    told = json.loads(output(home, *asked, "--out", tmp_path / "out.jsonl", *chosen, "--json"))
    assert told["remarks"] == [
        "1 row has no text, and no answer (row 3)",
        "1 row has no answer: no room is left in the 24 tokens that the model reads",
    ]
    writer = Writer.load(home / "generator")
    fitting = [Asked(prompts[row], "positive", 4, row) for row in (0, 1, 3)]
    expected = [text.text for text in writer.write_for(fitting, sampling=Sampling(6, 0.8, 0.95, 4))]
    found = [row["predicted_text"] for row in read(tmp_path / "out.jsonl")]
    assert found == [expected[0], expected[1], None, expected[2], None]
    assert expected[0] != expected[2], "equal prompts draw by their rows"
    error = str(refused(tmp_path, *asked, "--out", "out.csv", "-S", "max_tokens=many"))
    assert "-S max_tokens=many: max_tokens is a whole number" in error
    for wrong in ("max_tokens=0", "temperature=-1", "top_p=0", "seed=-1"):
        assert wrong.partition("=")[0] in str(refused(tmp_path, *asked, "--out", "out.csv", "-S", wrong))


def evaluated(home: Path, *arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output(home, "evaluate", *arguments, "--json"))
    return found


def test_scores_confusion_and_slices_are_those_of_the_rows(home: Path, tmp_path: Path) -> None:
    rows = table(60)
    data = write(tmp_path / "rows.parquet", rows)
    before = digests(tmp_path)
    found = evaluated(home, "ours", "--data", data, "--text-column", "said", "--by", "shop")
    assert digests(tmp_path) == before
    said = [one.label for one in Predictor.load(home / "ours").predict([row["said"] for row in rows])]
    true = [row["label"] for row in rows]
    assert found["scores"]["accuracy"]["value"] == pytest.approx(accuracy_score(true, said))
    assert found["scores"]["macro_f1"]["value"] == pytest.approx(f1_score(true, said, average="macro", labels=LABELS))
    assert all(score["low"] <= score["value"] <= score["high"] for score in found["scores"].values())
    assert found["confusion"] == {"labels": LABELS, "counts": confusion_matrix(true, said, labels=LABELS).tolist()}
    assert [(value, one["rows"]) for value, one in found["slices"]["shop"].items()] == [("north", 45), ("south", 15)]
    south = [place for place, row in enumerate(rows) if row["shop"] == "south"]
    right = accuracy_score([true[place] for place in south], [said[place] for place in south])
    assert found["slices"]["shop"]["south"]["scores"]["accuracy"]["value"] == pytest.approx(right)
    assert found == evaluated(home, "ours", "--data", data, "--text-column", "said", "--by", "shop")


def test_macro_f1_is_over_the_labels_that_the_rows_have(home: Path, tmp_path: Path) -> None:
    rows = [row for row in table(30) if row["label"] != LABELS[0]]
    data = write(tmp_path / "rows.jsonl", rows)
    said = [one.label for one in Predictor.load(home / "ours").predict([row["said"] for row in rows])]
    expected = f1_score([row["label"] for row in rows], said, average="macro", labels=LABELS[1:])
    found = evaluated(home, "ours", "--data", data, "--text-column", "said")
    assert found["scores"]["macro_f1"]["value"] == pytest.approx(expected)


def test_rows_that_cannot_be_scored_are_named_and_refused_or_left_out(home: Path, tmp_path: Path) -> None:
    rows = [*table(20), {"said": "good", "label": "unheard"}, {"said": "bad", "label": "unheard"}]
    rows += [{"said": "bad", "label": "odd"}, {"said": "", "label": LABELS[0]}, {"said": "bad", "label": ""}]
    write(tmp_path / "rows.csv", [dict.fromkeys(rows[0], "") | row for row in rows])
    asked = ("evaluate", home / "ours", "--data", "rows.csv", "--text-column", "said")
    error = str(refused(tmp_path, *asked))
    assert "labels that the model does not know: 'unheard' (2 rows), 'odd' (1 row); it knows negative, neutral" in error
    assert "--unknown drop leaves their rows out" in error
    found = json.loads(output(tmp_path, *asked, "--unknown", "drop", "--json"))
    assert found["rows"] == 20
    assert found["left_out"] == {"no text": 1, "no label in 'label'": 1, "a label that the model does not know": 3}
    assert "has no column 'colour'" in str(refused(tmp_path, *asked, "--by", "colour"))
    write(tmp_path / "many.csv", table(120))
    many = ("evaluate", home / "ours", "--data", "many.csv", "--text-column", "said", "--by", "id")
    assert "--by id: many.csv has 120 different values in it" in str(refused(tmp_path, *many))


def test_a_model_that_never_named_its_labels_takes_the_numbers(home: Path, tmp_path: Path) -> None:
    rows = [{"text": row["said"], "class": LABELS.index(row["label"])} for row in table()]
    named = write(tmp_path / "named.csv", table())
    numbered = write(tmp_path / "numbered.parquet", rows)
    ours = evaluated(home, "ours", "--data", named, "--text-column", "said")["scores"]
    assert evaluated(home, "numbered", "--data", numbered, "--label-column", "class")["scores"] == ours


def test_a_generator_has_its_perplexity(home: Path, tmp_path: Path) -> None:
    texts = ["酒店很好", "服务太坏了。", "房间好" * 12, "这个"] * 3
    rows = [{"text": text, "mood": "positive" if place % 2 else "negative"} for place, text in enumerate(texts)]
    data = write(tmp_path / "rows.csv", rows)
    writer = Writer.load(home / "generator")
    for column in (None, "mood"):
        found = evaluated(home, "generator", "--data", data, *(("--label-column", column) if column else ()))
        documents = [TextRow(place, row["text"], row[column] if column else None) for place, row in enumerate(rows)]
        losses = document_losses(
            writer.model,
            documents_of(documents, writer.tokenizer, controls=writer.controls),
            context=CONTEXT,
            batch_size=4,
        )
        assert found["confusion"] is None
        assert list(found["scores"]) == ["perplexity", "char_perplexity"]
        expected = float(losses.losses.sum() / losses.characters.sum())
        assert math.log(found["scores"]["char_perplexity"]["value"]) == pytest.approx(expected, abs=1e-5)
    error = str(refused(tmp_path, "evaluate", home / "generator", "--data", data, "--runtime", "onnx-int8"))
    assert "--runtime onnx-int8: a model for generation keeps its precision; torch or onnx would work" in error


@pytest.mark.parametrize("model", ["ours", "generator"])
def test_the_tables_fit_the_terminal(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rows = [{"text": "好酒店", "label": LABELS[place % 3], "shop": f"shop [number] {place % 2}"} for place in range(12)]
    write(tmp_path / "rows.csv", rows)
    printed = output(tmp_path, "evaluate", home / model, "--data", "rows.csv", "--by", "shop")
    assert max(map(len, printed.splitlines())) <= 80
    assert "shop = shop [number] 1" in printed
    assert ("said neutral" in " ".join(printed.split())) == (model == "ours")


def test_how_a_file_is_written_can_be_said(home: Path, tmp_path: Path) -> None:
    """As the messages about it say."""
    (tmp_path / "rows.csv").write_bytes('text^label\n"good dåy^negative\nbad^positive\n'.encode("cp1252"))
    asked = ("evaluate", home / "ours", "--data", "rows.csv")
    written = ("-S", "ingest.delimiter=^", "-S", "ingest.encoding=cp1252", "-S", "ingest.quotes=text")
    assert "set ingest.encoding (for instance cp1252" in str(refused(tmp_path, *asked))
    assert "set ingest.quotes=text" in str(refused(tmp_path, *asked, *written[:4]))
    assert json.loads(output(tmp_path, *asked, *written, "--json"))["rows"] == 2
    output(tmp_path, "predict", home / "ours", "--data", "rows.csv", "--out", "out.jsonl", *written)
    assert [row["text"] for row in read(tmp_path / "out.jsonl")] == ['"good dåy', "bad"]
    error = str(refused(tmp_path, *asked, "-S", "ingest.source=other.csv"))
    assert error.startswith("-S ingest.source: of ingest, evaluate takes format, encoding, delimiter, header, quotes, ")


def test_rows_that_a_model_has_learned_from_are_told(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = table()
    shutil.copytree(home / "ours", tmp_path / "models" / "r1")
    clean = tmp_path / "data" / "clean"
    clean.mkdir(parents=True)
    pq.write_table(pa.table({"text": [f"@user {rows[0]['said']}", rows[1]["said"]]}), clean / "train.parquet")
    pq.write_table(pa.table({"text": [rows[2]["said"], "never asked"]}), clean / "validation.parquet")
    rows[0]["said"] = f"@somebody {rows[0]['said']}"  # what the rules make of it was learned from
    data = str(write(tmp_path / "rows.csv", rows))
    asked = ("evaluate", str(tmp_path / "models" / "r1"), "--data", data, "--text-column", "said")
    expected = sum(row["said"] in {rows[place]["said"] for place in range(3)} for row in rows)
    assert expected >= 3
    assert json.loads(output(tmp_path, *asked, "--json"))["learned"] == expected
    cli.main(list(asked), standalone_mode=False)
    said = " ".join(capsys.readouterr().err.split())
    assert f"{expected} of 30 texts are among those that the models of this project have learned from" in said
    (clean / "train.parquet").write_bytes(b"damaged")
    assert json.loads(output(tmp_path, *asked, "--json"))["learned"] is None
    elsewhere = ("evaluate", str(home / "ours"), *asked[2:])
    assert json.loads(output(tmp_path, *elsewhere, "--json"))["learned"] is None


def test_what_scores_count_and_which_option_would_work_is_told(tmp_path: Path) -> None:
    model, tokenizer = tiny_model(), tiny_tokenizer()
    model.config.problem_type = "multi_label_classification"
    save(model, tokenizer, tmp_path / "several", card={"max_length": 12, "text_rules": RULES}, check_reload=False)
    rows = [{"text": "a good day", "mood": "neutral;positive"}, {"text": "a bad day", "mood": "negative"}]
    write(tmp_path / "rows.csv", rows)
    asked = ("evaluate", "several", "--data", "rows.csv")
    assert "has no column 'label'" in (said := str(refused(tmp_path, *asked))) and "--label-column names" in said
    said = str(refused(tmp_path, *asked, "--label-column", "mood"))
    assert said.endswith("-S 'ingest.label_separator=\";\"' takes a cell such as 'neutral;positive' apart")
    printed = output(tmp_path, *asked, "--label-column", "mood", "-S", "ingest.label_separator=;")
    assert "micro-F1" in printed and "accuracy is the share of texts of which all labels are right" in printed
    wrong = ("predict", "several", "--data", "rows.csv", "--out", "out.csv", "--text-column", "said")
    assert str(refused(tmp_path, *wrong)).endswith("--text-column names another one")
    assert load_served(None, str(tmp_path / "several"), num_threads=1).kind.name == "multi_label"


def test_numbers_are_shown_however_large_or_small() -> None:
    assert prediction._cell(0.000012345) == "1.23e-05" and prediction._cell(0.0) == "0.000"
    assert evaluation_display._interval({"value": -9.5, "low": -1.1e16, "high": 0.0}) == "-9.500 (-1.1e+16 to 0.000)"
