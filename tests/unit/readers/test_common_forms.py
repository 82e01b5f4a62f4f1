"""Forms in which rows come from other programs: each is read to the right rows, or refused in words that help."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateur.config.ingest import IngestSection
from secateur.data.acquisition import check_rows
from secateur.errors import DataError
from secateur.readers.columns import columns_of
from secateur.readers.label_spelling import LabelRules, settle_labels
from secateur.readers.labels import SeveralLabels
from secateur.readers.layout import Layout
from secateur.readers.reading import reading_of
from secateur.sources.locations import locate

ROWS = [(f"text {number}, it is", "good" if number % 2 else "bad") for number in range(6)]


def read(folder, source, **params):
    section = IngestSection(**({"text_column": "text", "label_column": "label"} | params), source=source)
    found = check_rows(section.source, reading_of(section), root=folder, min_labels=0)
    return list(zip(found.rows["text"].to_pylist(), found.rows["label"].to_pylist(), strict=True)), found.remarks


def names_in(folder, name):
    return columns_of(locate(name, root=folder), file_format="auto", encoding="auto", layout=Layout())


def csv_of(rows=ROWS, *, head='"text","label"'):
    return "\n".join([head, *(f'"{text}","{label}"' for text, label in rows)]) + "\n"


@pytest.mark.parametrize("title", ["# written by a tool\n# on a Monday\n", "Report, of a year\n\n"])
def test_a_header_below_some_lines_is_found_and_told(tmp_path, title):
    (tmp_path / "a.csv").write_text(title + csv_of())
    rows, remarks = read(tmp_path, "a.csv")
    assert rows == ROWS and "the columns have their names in line 3; " in remarks[0]
    if title.startswith("#"):
        assert names_in(tmp_path, "a.csv") == ["text", "label"]


def test_a_column_called_number_sign_is_no_comment(tmp_path):
    (tmp_path / "a.csv").write_text("#,text,label\n1,a,b\n")
    assert names_in(tmp_path, "a.csv") == ["#", "text", "label"]
    assert read(tmp_path, "a.csv") == ([("a", "b")], ())


def test_apostrophes_enclose_cells_where_they_enclose_the_names(tmp_path):
    written = "".join(f"'{text}','{label}'\n" for text, label in [("text", "label"), *ROWS, ("it''s, so", "bad")])
    (tmp_path / "a.csv").write_text(written)
    rows, remarks = read(tmp_path, "a.csv")
    assert rows == [*ROWS, ("it's, so", "bad")] and "an apostrophe was read as enclosing cells" in remarks[0]
    assert names_in(tmp_path, "a.csv") == ["text", "label"]
    (tmp_path / "a.csv").write_text(written.replace("'text 3", "'text 'n' 3"))
    with pytest.raises(DataError, match=r"line 5 cannot be read: .*; double the ' inside cells"):
        read(tmp_path, "a.csv")


@pytest.mark.parametrize(("head", "row"), [("text,label", "1,{},{}"), ("text,label", "{},{},")])
def test_rows_that_all_have_one_cell_more_than_the_header_are_explained(tmp_path, head, row):
    (tmp_path / "a.csv").write_text("\n".join([head, *(row.format(n, "b") for n in range(9))]))
    with pytest.raises(DataError, match=r"no row can be read: in line 2 it has 3 cells .* one of row numbers as well"):
        read(tmp_path, "a.csv")


def test_wide_letters_without_a_mark_and_a_letter_of_another_encoding_are_named(tmp_path):
    (tmp_path / "a.csv").write_bytes(csv_of([("schön", "gut")] * 3).encode("utf-16-le"))
    with pytest.raises(DataError, match=r"looks like utf-16-le without a mark, which ingest.encoding=utf-16-le reads"):
        read(tmp_path, "a.csv")
    assert read(tmp_path, "a.csv", encoding="utf-16-le")[0] == [("schön", "gut")] * 3
    (tmp_path / "a.csv").write_bytes(csv_of().encode() + "schön,gut\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"in line 8; convert the file"):
        read(tmp_path, "a.csv")


def test_what_is_packed_twice_is_named(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(gzip.compress(csv_of().encode())))
    with pytest.raises(DataError, match="is packed twice; unpack it once"):
        read(tmp_path, "a.csv.gz")


@pytest.mark.parametrize("indent", [1, None])
def test_objects_one_after_another_are_rows(tmp_path, indent):
    objects = [json.dumps({"text": text, "label": label}, indent=indent) for text, label in ROWS]
    (tmp_path / "a.json").write_text((" " if indent is None else "\n").join(objects))
    assert read(tmp_path, "a.json")[0] == ROWS and names_in(tmp_path, "a.json") == ["text", "label"]
    (tmp_path / "a.json").write_text("\n".join(objects)[:-3])
    with pytest.raises(DataError, match=r"a.json (row|line) 6 is not JSON"):
        read(tmp_path, "a.json")


def test_rows_by_their_index_have_names_and_columns_too(tmp_path):
    rows = {str(number): {"text": text, "label": label} for number, (text, label) in enumerate(ROWS)}
    (tmp_path / "a.json").write_text(json.dumps(rows))
    assert names_in(tmp_path, "a.json") == ["text", "label"] and read(tmp_path, "a.json")[0] == ROWS
    columns = {name: {key: row[name] for key, row in rows.items()} for name in ("text", "label")}
    (tmp_path / "a.json").write_text(json.dumps(columns))
    assert names_in(tmp_path, "a.json") == ["text", "label"] and read(tmp_path, "a.json")[0] == ROWS


def test_several_arrays_are_named(tmp_path):
    rows = [{"text": text, "label": label} for text, label in ROWS]
    (tmp_path / "a.json").write_text(json.dumps({"train": rows, "test": rows[:2]}))
    for look in (read, names_in):
        with pytest.raises(DataError, match=r"several arrays of objects: train \(6 rows\), test \(2 rows\)"):
            look(tmp_path, "a.json")


@pytest.mark.parametrize("form", ["parquet", "json", "csv"])
def test_lists_of_one_label_each_are_labels(tmp_path, form):
    def write(labels):
        lists = [[label] if isinstance(label, str) else label for label in labels]
        if form == "parquet":
            pq.write_table(pa.table({"text": texts, "label": lists}), tmp_path / "a.parquet")
        elif form == "json":
            (tmp_path / "a.json").write_text(
                json.dumps([{"text": t, "label": one} for t, one in zip(texts, lists, strict=True)])
            )
        else:
            cells = [f'{text},"{found}"' for text, found in zip(texts, lists, strict=True)]
            (tmp_path / "a.csv").write_text("\n".join(["text,label", *cells]))

    texts = [f"text {number}" for number in range(4)]
    write(["a", "b", "a", []])
    rows, remarks = read(tmp_path, f"a.{form}")
    assert [label for _, label in rows] == ["a", "b", "a", None]
    assert any("are lists of one label each" in remark for remark in remarks)
    write(["a", "b", "a", ["a", "b"]])
    with pytest.raises(SeveralLabels):
        read(tmp_path, f"a.{form}")


@pytest.mark.parametrize("label", [r'"\ud83d"', r'["\ud83d"]'])
def test_half_of_a_surrogate_in_a_label_is_a_sign_that_cannot_be_read(tmp_path, label):
    (tmp_path / "a.jsonl").write_text(f'{{"text": "x", "label": {label}}}\n')
    assert read(tmp_path, "a.jsonl")[0] == [("x", "\ufffd")]


def test_objects_and_dates_as_labels_say_what_would_work(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"text": "x", "label": {"id": 1}}]))
    with pytest.raises(DataError, match=r"holds objects, and takes text or numbers; label.id names a value in them"):
        read(tmp_path, "a.json")
    pq.write_table(pa.table({"text": ["x"], "label": pa.array([0], pa.date32())}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="holds dates or times; where these are names, write them as text"):
        read(tmp_path, "a.parquet")


def test_lines_of_fasttext_have_labels(tmp_path):
    lines = ["__label__good it works", "", "__label__bad it, does not", "__label__bad"]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"set ingest\.format=fasttext"):
        read(tmp_path, "a.txt")
    assert read(tmp_path, "a.txt", format="fasttext")[0] == [("it works", "good"), ("it, does not", "bad"), ("", "bad")]
    (tmp_path / "a.txt").write_text("__label__a __label__b two\n__label__a one\n")
    with pytest.raises(SeveralLabels):
        read(tmp_path, "a.txt", format="fasttext")


def settled(labels, **rules):
    return settle_labels(pa.table({"label": pa.array(labels)}), LabelRules(**rules), column="label")


def test_letters_that_are_drawn_alike_are_told_so_that_they_differ():
    told = r"labels that look alike: 'data' (2 rows) = 'd\u0430ta' (1 row)"
    (remark,) = settled(["data", "data", "d\u0430ta", "bar"]).remarks
    assert remark.startswith(told)
    assert settled(["data", "data", "d\u0430ta"], lookalike_labels="merge").rows["label"].to_pylist() == ["data"] * 3
    assert r"'cafe\u0301' (1 row) = 'caf\xe9' (1 row)" in settled(["caf\u00e9", "cafe\u0301"]).remarks[0]
    assert settled(["положительный", "отрицательный"]).remarks == ()


def test_words_for_nothing_of_other_languages_are_told():
    assert "'k.A.' (1 row)" in settled(["gut", "schlecht", "k.A."]).remarks[0]
