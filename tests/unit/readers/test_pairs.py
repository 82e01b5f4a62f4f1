"""Rows of two texts: read from every format as one string, and taken apart where each of them counts."""

import json
import sqlite3
from contextlib import closing

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateur.config.part import parse_part
from secateur.data.text_rules import TextRules, before_and_after, clean_texts
from secateur.errors import ConfigError, DataError
from secateur.readers.database import read_query
from secateur.readers.layout import Columns
from secateur.readers.pairs import SEPARATOR, as_text, as_written, has_words, num_texts, shown, texts_in
from secateur.readers.reading import Reading
from secateur.readers.row_files import open_rows, texts_of
from secateur.readers.tables import format_of, read_rows

ROWS = [
    ("a man sleeps", "he is awake", "no"),
    ("", "alone", "no"),
    ("both \U0001f600", "here", "yes"),
    ("only", None, "yes"),
]
PAIRS = Columns(text="premise", label="gold", confidence=None, second="hypothesis")
RULES = TextRules(repair_encoding=True, normalization="NFKC", mask_handles=True, mask_links=True, max_chars=10)


def written(folder, kind):
    table = [dict(zip(("premise", "hypothesis", "gold"), row, strict=True)) for row in ROWS]
    file = folder / f"rows.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(table), file)
    elif kind == "xlsx":
        book = openpyxl.Workbook()
        for row in [("premise", "hypothesis", "gold"), *ROWS]:
            book.active.append(row)
        book.save(file)
    elif kind == "jsonl":
        file.write_text("\n".join(map(json.dumps, table)))
    else:
        lines = [("premise", "hypothesis", "gold"), *((a, b or "", c) for a, b, c in ROWS)]
        file.write_text("".join(f"{','.join(line)}\n" for line in lines))
    return file


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "xlsx"])
def test_two_columns_are_one_text_and_a_half_is_none(tmp_path, kind):
    file = written(tmp_path, kind)
    found = read_rows(file, file_format=format_of(file, "auto"), encoding="utf-8", columns=PAIRS).rows
    texts = found["text"].to_pylist()
    assert [text and texts_in(text) for text in texts] == [
        ["a man sleeps", "he is awake"],
        None,
        ["both \U0001f600", "here"],
        None,
    ]
    assert found["label"].to_pylist() == ["no", "no", "yes", "yes"]
    [batch] = open_rows(str(file), Reading(PAIRS)).batches(10)
    assert [has_words(text) for text in texts_of(batch, PAIRS.texts)] == [True, False, True, False]


def test_a_column_of_numbers_is_no_second_text(tmp_path):
    pq.write_table(pa.table({"premise": ["a"], "hypothesis": [1], "gold": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column 'hypothesis' holds int64, not text"):
        read_rows(tmp_path / "a.parquet", file_format="parquet", encoding=None, columns=PAIRS)
    with pytest.raises(DataError, match="column 'hypothesis' holds int64, not text"):
        open_rows(str(tmp_path / "a.parquet"), Reading(PAIRS))
    with closing(sqlite3.connect(tmp_path / "a.db")) as base:
        base.execute("CREATE TABLE rows (premise, hypothesis, gold)")
        base.execute("INSERT INTO rows VALUES ('a', 1, 'x')")
        base.commit()
    with pytest.raises(DataError, match="column 'hypothesis' holds int, not text"):
        read_query(tmp_path / "a.db", "SELECT * FROM rows", PAIRS)
    (tmp_path / "a.jsonl").write_text('{"premise": "a", "hypothesis": ["b"], "gold": "x"}\n')
    with pytest.raises(DataError, match="line 1: 'hypothesis' holds list, not text"):
        read_rows(tmp_path / "a.jsonl", file_format="jsonl", encoding="utf-8", columns=PAIRS)


def test_no_text_from_outside_is_taken_for_a_pair(tmp_path):
    (tmp_path / "a.csv").write_text(f"premise,gold\na{SEPARATOR}b,x\n", encoding="utf-8")
    alone = Columns(text="premise", label="gold", confidence=None)
    found = read_rows(tmp_path / "a.csv", file_format="csv", encoding="utf-8", columns=alone).rows["text"].to_pylist()
    assert found == ["a\ufffdb"]
    assert texts_in(as_text([f"a{SEPARATOR}b", "c"])) == ["a\ufffdb", "c"]
    assert as_text(f"a{SEPARATOR}b") == "a\ufffdb"


def test_what_a_person_sees():
    pair = as_text(["a", "b"])
    assert (shown(pair), as_written(pair), as_written("a"), shown("a | b")) == ("a | b", ["a", "b"], "a", "a | b")
    assert [num_texts(texts) for texts in (["a"], [pair, pair], [pair, "a"], [])] == [1, 2, 0, 1]


def test_rules_hold_for_each_text_by_itself():
    pair = as_text(["  @bob   wrote &amp; more ", "x" * 30])
    cleaned, bits = clean_texts([pair, "  one   text "], RULES)
    assert [texts_in(text) for text in cleaned] == [["@user wrot", "x" * 10], ["one text"]]
    assert bits[0] & 1 and bits[0] & 2, "repaired, normalised"
    before, after = before_and_after(pair, RULES, "mask_handles")
    assert (texts_in(before)[0], texts_in(after)[0]) == ("@bob wrote & more", "@user wrote & more")


def test_the_parameter_names_one_column_or_two():
    def columns(given, **also):
        return parse_part("classification", {"ingest": {"text_column": given, "label_column": "l", **also}}).ingest

    assert columns("a").text_columns == ("a",)
    assert columns(["a"]).text_column == "a", "what is not a pair stays what it was"
    assert columns(["a", "b"]).text_columns == ("a", "b")
    assert columns([0, 1]).text_columns == ("0", "1")
    for wrong in ([], ["a", "b", "c"], "", ["a", ""], None, {"a": "b"}):
        with pytest.raises(ConfigError, match="is the name of a column, or a list of two"):
            columns(wrong)
    with pytest.raises(ConfigError, match="'a' is named twice"):
        columns(["a", "a"])
    with pytest.raises(ConfigError, match="format lines has the columns text and file, found 'b'"):
        columns(["text", "b"], format="lines", label_column="file")
    with pytest.raises(ConfigError, match=r"ingest\.text_column must name one column, found a, b: a generator writes"):
        parse_part("generation", {"ingest": {"text_column": ["a", "b"]}})
