import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateur.data.encodings import encoding_of
from secateur.data.tables import Columns, format_of, read_rows
from secateur.errors import DataError

COLUMNS = Columns(text="text", label="label", confidence="sure")


def rows_of(path, *, columns=COLUMNS, encoding="utf-8"):
    return read_rows(path, file_format=format_of(path, "auto"), encoding=encoding, columns=columns)


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_the_four_formats_give_the_same_rows(tmp_path):
    csv = write(tmp_path / "a.csv", '\ufefftext,label,sure\n"a, ""b""\nc",1,0.5\n好,0,\n')
    tsv = write(tmp_path / "a.tsv", 'text\tlabel\tsure\n"a, ""b""\nc"\t1\t0.5\n好\t0\t\n')
    records = [{"text": 'a, "b"\nc', "label": 1, "sure": 0.5}, {"text": "好", "label": 0.0, "sure": None}]
    jsonl = write(tmp_path / "a.jsonl", "\n\n".join(json.dumps(r) for r in records) + "\n")
    parquet = tmp_path / "a.parquet"
    pq.write_table(pa.table({"sure": [0.5, None], "label": [1, 0], "text": ['a, "b"\nc', "好"]}), parquet)
    expected = {"text": ['a, "b"\nc', "好"], "label": ["1", "0"], "confidence": [0.5, None], "row": [0, 1]}
    for path in (csv, tsv, jsonl, parquet):
        assert rows_of(path).to_pydict() == expected, path.name


def test_numbers_as_text_stay_as_they_are_written(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\n007,b\nnull,a\n")
    table = rows_of(path, columns=Columns("text", "label", None))
    assert table["text"].to_pylist() == ["007", "null"]
    assert table["confidence"].to_pylist() == [None, None]


def test_half_a_surrogate_does_not_stop_the_reader(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "x \\ud83d", "label": 1}\n{"text": "\\ud83d\\ude00", "label": 0}\n')
    assert rows_of(path, columns=Columns("text", "label", None))["text"].to_pylist() == ["x \ufffd", "\U0001f600"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "body,label,sure\nx,1,1\n", r"a.csv has no column 'text'; its columns are: body, label, sure"),
        ("a.jsonl", '{"body": 1}\n{"tone": 2}\n', r"a.jsonl has no column 'text'; its columns are: body, tone"),
        ("a.csv", "text,text,label,sure\n", r"a.csv has 2 columns named 'text'; rename all but one"),
        ("a.csv", "text,label,sure\n", "a.csv has a header and no rows"),
        ("a.csv", "text,label,sure\nx,1\n", "a.csv cannot be read as 3 columns: .*Expected 3 columns, got 2"),
        ("a.csv", "text,label,sure\nx,1,often\n", "'sure' holds something that is not a number.*often"),
        ("a.csv", "text,label,sure\nx,1,87\n", r"'sure' ranges from 87 to 87; it must lie in \[0, 1\]"),
        ("a.jsonl", '{"text": "x", "label": 1, "sure": 1}\n{oops\n', "a.jsonl line 2 is not JSON"),
        ("a.jsonl", "[1]\n", "a.jsonl line 1 is a JSON list; each line must be an object"),
        ("a.jsonl", '{"text": 3, "label": 1, "sure": 1}\n', "a.jsonl line 1: 'text' holds int, not text"),
        ("a.jsonl", '{"text": "x", "label": [1], "sure": 1}\n', "'label' holds list; a label is text or a number"),
        ("a.parquet", "text,label,sure\n", "a.parquet is not a Parquet file"),
    ],
)  # fmt: skip
def test_an_unreadable_table_is_explained_in_one_line(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message) as caught:
        rows_of(write(tmp_path / name, content))
    assert "\n" not in str(caught.value)


def test_text_that_is_no_text_is_refused(tmp_path):
    pq.write_table(pa.table({"text": [1], "label": [1], "sure": [1.0]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column 'text' holds int64, not text"):
        rows_of(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "asked", "found"), [("a.tab", "csv", "tsv"), ("a.log", "jsonl", "jsonl"), ("A.CSV", "auto", "csv")]
)
def test_formats(tmp_path, name, asked, found):
    assert format_of(tmp_path / name, asked) == found


@pytest.mark.parametrize(
    ("name", "message"), [("a.txt", "plain text, which has no labels"), ("a.xlsx", "the ending '.xlsx' says no format")]
)
def test_formats_that_cannot_be_used(tmp_path, name, message):
    with pytest.raises(DataError, match=message):
        format_of(tmp_path / name, "auto")


def test_a_file_that_is_not_utf8_names_the_byte_and_where_it_is(tmp_path):
    # The offset lies beyond the first chunk, behind a character that the chunk border cuts.
    path = tmp_path / "a.csv"
    path.write_bytes(b"x" * ((1 << 22) - 1) + "é".encode() + b"caf\xe9\n")
    with pytest.raises(
        DataError, match=r"a.csv is not UTF-8: byte 0xe9 at offset 4194308; convert the file, or set ingest.encoding"
    ):
        encoding_of(path, asked="auto", kind="file")
    assert encoding_of(path, asked="auto", kind="package") == "latin-1"


def test_utf16_is_recognised_and_readable(tmp_path):
    path = write(tmp_path / "a.csv", "text,label,sure\n好,1,1\n", encoding="utf-16")
    with pytest.raises(DataError, match=r"set ingest.encoding=utf-16"):
        encoding_of(path, asked="auto", kind="file")
    assert rows_of(path, encoding=encoding_of(path, asked="utf-16", kind="file"))["text"].to_pylist() == ["好"]
