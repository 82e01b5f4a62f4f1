"""Files that are read piece by piece: as one reads them whole, and in memory that does not grow with them."""

import csv
import gzip
import json
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateur.errors import DataError
from secateur.readers.json_columns import JSON_TEXT
from secateur.readers.layout import Columns, Layout
from secateur.readers.reading import Reading
from secateur.readers.row_files import open_rows, values_of
from secateur.readers.tables import read_rows

READING = Reading(columns=Columns(text="text", label=None, confidence=None))
WRITTEN = {
    "plain.csv": 'id,text\n1,good\n\n2,"so, so"\n3,"two\nlines ""quoted"""\n',
    "sep.csv": 'sep=;\n"id";"text"\n1;a,b\n2;"c;d"\n',
    "stray.tsv": 'id\ttext\n1\t"good\n2\tbad\n3\t5" wide\n',
    "bar.csv": "id|text\n1|good\n2|bad\n",
    "lines.jsonl": '\n{"id": 1, "text": "good"}\n{"text": null, "more": [1]}\n',
    "pretty.json": '[\n {"id": 1, "text": "good"},\n {"id": 2, "text": "bad"}\n]\n',
    "inside.json": '{"meta": {"n": 2}, "data": [{"text": "good"}, {"text": "bad"}]}',
    "columns.json": '{"id": {"0": 1, "1": 2}, "text": {"0": "good", "1": "bad"}}',
}


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("packed", [False, True])
def test_rows_are_those_that_ingest_reads(tmp_path: Path, name: str, packed: bool) -> None:
    path = tmp_path / (f"{name}.gz" if packed else name)
    content = WRITTEN[name].encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    rows = open_rows(str(path), READING)
    whole = read_rows(
        path,
        file_format={".csv": "csv", ".tsv": "tsv"}.get(Path(name).suffix, "jsonl"),  # type: ignore[arg-type]
        encoding="utf-8",
        columns=READING.columns,
        layout=Layout(),
    )
    for size in (1, 2, 100):
        found = list(rows.batches(size))
        assert all(batch.num_rows <= size for batch in found)
        assert (
            list(chain.from_iterable(batch.column("text").to_pylist() for batch in found))
            == whole.rows["text"].to_pylist()
        )
    assert rows.num_rows == whole.rows.num_rows
    assert rows.remarks == whole.remarks


def test_rows_with_two_values_under_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n{"text": "y", "id": 1, "id": 2}\n')
    with pytest.raises(DataError, match=r"a\.jsonl line 2 has two different values under 'id'; leave one of them"):
        open_rows(str(tmp_path / "a.jsonl"), READING)


LETTERS = [f"Dear sir {n}, hello\nit is broken, again\nregards, {n}" for n in range(5)]


@pytest.mark.parametrize("first", ["1", "north", "a title, with a comma"])
def test_lines_of_a_text_with_as_many_cells_are_no_rows(tmp_path: Path, first: str) -> None:
    """Without a label all that a line of a letter has in common with a row is the number of its commas."""
    path = tmp_path / "letters.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["other", "text"], *([first, text] for text in LETTERS), ["1", "a line"]])
    rows = open_rows(str(path), READING)
    (batch,) = rows.batches(10)
    assert batch.column("text").to_pylist() == [*LETTERS, "a line"]


def test_a_stray_quote_swallows_no_rows_where_there_is_no_label(tmp_path: Path) -> None:
    lines = [f"{n},text {n}" for n in range(40)]
    lines[5], lines[20] = '5,"opens', '20,closes"'
    (tmp_path / "rows.csv").write_text("\n".join(["id,text", *lines]) + "\n")
    with pytest.raises(DataError, match=r"line 7 cannot be read: a quote opens a cell that .*whole rows"):
        open_rows(str(tmp_path / "rows.csv"), READING)


def test_columns_of_json_have_the_simplest_type_that_holds_them(tmp_path: Path) -> None:
    records = [
        {"text": "a", "whole": 1, "some": 1, "yes": True, "word": "x", "mixed": 1, "nested": {"k": 1}, "huge": 2**70},
        {"text": "b", "whole": 2, "some": 1.5, "yes": None, "word": None, "mixed": "1", "nested": None, "huge": 1},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    rows = open_rows(str(tmp_path / "rows.jsonl"), READING)
    types = {field.name: ("json" if JSON_TEXT in (field.metadata or {}) else str(field.type)) for field in rows.schema}
    assert types == {
        "text": "string", "whole": "int64", "some": "double", "yes": "bool", "word": "string",
        "mixed": "json", "nested": "json", "huge": "json",
    }  # fmt: skip
    (batch,) = rows.batches(10)
    assert batch.column("mixed").to_pylist() == ["1", '"1"']
    assert json.loads(batch.column("huge")[0].as_py()) == 2**70


def test_a_parquet_file_that_is_damaged_behind_its_footer_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": [f"text {number} of some length" for number in range(5000)]}), path)
    content = bytearray(path.read_bytes())
    content[200:4000] = bytes(3800)
    path.write_bytes(content)
    rows = open_rows(str(path), READING)
    with pytest.raises(DataError, match=r"rows\.parquet is damaged and cannot be read to its end"):
        list(rows.batches(100))


def test_text_of_a_damaged_file_that_is_none_is_one_line() -> None:
    torn = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])
    with pytest.raises(DataError, match="column 'text' holds bytes that are not UTF-8; write it as text"):
        values_of(pa.record_batch([torn], names=["text"]), "text")


def test_half_a_character_in_the_name_of_a_column_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "good", "\\ud83d": 1}\n')
    with pytest.raises(DataError, match=r"rows\.jsonl: the name of column '\\ud83d' holds half a character; rename"):
        open_rows(str(tmp_path / "rows.jsonl"), READING)


def test_rows_that_a_damaged_file_counts_and_does_not_hold_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged pages end the reading of some files without an error."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": ["a", "b", "c"]}), path)
    whole = pq.read_table(path)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *_, **__: iter(whole.slice(0, 2).to_batches()))
    monkeypatch.setattr(pq.ParquetFile, "read", lambda *_, **__: whole.slice(0, 2))
    said = r"rows\.parquet is damaged: 2 of the 3 rows that it counts can be read"
    with pytest.raises(DataError, match=said):
        list(open_rows(str(path), READING).batches(100))
    with pytest.raises(DataError, match=said):
        read_rows(path, file_format="parquet", encoding="utf-8", columns=READING.columns)
