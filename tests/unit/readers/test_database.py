"""Rows of an SQLite database: what its module answers, read-only, and pinned by the answer."""

import json
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.config.ingest import IngestSection
from secateur.data.acquisition import HubSelection, check_rows, copy_rows, digest_of, read_copied
from secateur.errors import DataError
from secateur.files import sha256_file
from secateur.readers.columns import columns_of
from secateur.readers.layout import Layout
from secateur.readers.pairs import SEPARATOR
from secateur.readers.reading import reading_of
from secateur.sources.locations import locate

QUERY = "SELECT body AS text, stars AS label FROM reviews ORDER BY id"
HUB = HubSelection(None, "train", None)
ROWS = [("good", "007"), ("bad", "1E30"), ("so so", 5.0), ("fine", 5), ("empty", None), (None, "x")]


def database(path, rows):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE reviews (id INTEGER PRIMARY KEY, body, stars, secret)")
        connection.execute("CREATE VIEW short AS SELECT body FROM reviews")
        connection.executemany("INSERT INTO reviews (body, stars, secret) VALUES (?, ?, 'password')", rows)
    return path


def section(**params):
    return IngestSection(**({"source": "shop.db", "query": QUERY, "label_column": "label"} | params))


def read(folder, **params):
    asked = section(**params)
    return check_rows(asked.source, reading_of(asked), root=folder, min_labels=0)


def pairs(table):
    return list(zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True))


@pytest.mark.parametrize("source", ["shop.db", "sqlite:///shop.db", "sqlite:////{folder}/shop.db"])
def test_the_answer_is_read_with_the_types_of_its_values(tmp_path, source):
    database(tmp_path / "shop.db", ROWS)
    found = read(tmp_path, source=source.replace("/{folder}", str(tmp_path)))
    assert pairs(found.rows) == [
        ("good", "007"), ("bad", "1E30"), ("so so", "5"), ("fine", "5"), ("empty", None), (None, "x"),
    ]  # fmt: skip
    location = locate("shop.db", root=tmp_path)
    names = columns_of(location, file_format="auto", encoding="auto", layout=Layout(query=QUERY))
    assert names == ["text", "label"]


def test_what_is_copied_is_the_answer_and_nothing_else_changes_it(tmp_path):
    path = database(tmp_path / "shop.db", ROWS)
    reading = reading_of(section())

    def copied(name):
        record = copy_rows("shop.db", reading, hub=HUB, out=tmp_path / name, at={"train": [path]}, min_labels=0)
        assert record["sha256"] == sha256_file(tmp_path / name / "shop.db.jsonl") == digest_of([path], reading)
        return {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}

    first = copied("first")
    assert set(first) == {"shop.db.jsonl", "provenance.json"}
    assert json.loads(first["shop.db.jsonl"].splitlines()[0]) == {"text": "good", "label": "007"}
    assert not any(b"password" in content for content in first.values())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE other AS SELECT random() AS x")
        connection.execute("UPDATE reviews SET secret = 'another'")
    assert copied("second") == first
    assert pairs(read_copied(tmp_path / "second", reading).rows) == pairs(read(tmp_path).rows)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE reviews SET body = 'worse' WHERE id = 2")
    assert copied("third") != first


REFUSED = {
    "DELETE FROM reviews": r"ingest\.query is refused \(not authorized\): it takes one SELECT",
    "UPDATE reviews SET body = 'x'": "is refused",
    "DROP TABLE reviews": "is refused",
    "ATTACH 'other.db' AS other": "is refused",
    "PRAGMA table_info(reviews)": "is refused",
    "SELECT 1; DROP TABLE reviews": "is refused .*one statement",
    "SELECT body AS text, stars AS label FROM reviews ORDER BY random()": "is refused .*calls no random",
    "SELECT load_extension('x')": "is refused|answers",
    "-- nothing": "asks shop.db for nothing",
    "SELEC body": 'shop.db answers: near "SELEC": syntax error; its tables are: reviews',
    "SELECT body AS text FROM revews": "no such table: revews; its tables are: reviews, short",
    "SELECT body, stars AS label FROM reviews": "the answer of shop.db has no column 'text'; its columns are: body, l",
    "SELECT id AS text, stars AS label FROM reviews": r"column 'text' holds int, not text; CAST\(text AS TEXT\)",
    "SELECT body AS text, x'00ff' AS label FROM reviews": "column 'label' holds bytes, not text",
    "SELECT body AS text, stars AS label FROM reviews WHERE 0": "shop.db has no row that answers ingest.query",
}


@pytest.mark.parametrize("query", REFUSED)
def test_a_query_that_does_not_serve_is_one_line_and_changes_nothing(tmp_path, query):
    path = database(tmp_path / "shop.db", ROWS)
    before = path.read_bytes()
    with pytest.raises(DataError, match=REFUSED[query]) as caught:
        read(tmp_path, query=query)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["shop.db"]


def test_a_database_and_a_query_go_together(tmp_path):
    database(tmp_path / "shop.db", ROWS)
    with pytest.raises(DataError, match=r"ingest\.query says by a SELECT .*; its tables are: reviews, short"):
        read(tmp_path, query=None)
    (tmp_path / "rows.csv").write_text("text,label\na,b\n")
    with pytest.raises(DataError, match=r"ingest\.query asks a database, and rows\.csv is none \(ingest\.format=csv\)"):
        read(tmp_path, source="rows.csv")
    (tmp_path / "rows.db").write_text("text,label\na,b\n")
    with pytest.raises(DataError, match=r"ingest\.query asks a database, and some/rows is a hub dataset"):
        copy_rows("some/rows", reading_of(section()), hub=HUB, out=tmp_path / "raw")
    with pytest.raises(DataError, match=r"rows\.db cannot be read as an SQLite database: file is not a database"):
        read(tmp_path, source="rows.db")


def test_changes_that_are_not_in_the_file_yet_are_not_overlooked(tmp_path):
    path = database(tmp_path / "shop.db", ROWS)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("UPDATE reviews SET body = 'new'")
        connection.commit()
        with pytest.raises(DataError, match=r"changes that are not written into it yet \(shop\.db-wal\)"):
            read(tmp_path)
    assert read(tmp_path).rows["text"].to_pylist() == ["new"] * len(ROWS)


TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters=SEPARATOR), max_size=20)
LABELS = st.one_of(TEXTS, st.none(), st.integers(-(2**63), 2**63 - 1), st.sampled_from([0.5, 2.0, 1e30]))


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(st.one_of(TEXTS, st.none()), LABELS), min_size=1, max_size=8))
def test_the_copy_reads_as_the_database(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("database")
    path = database(folder / "shop.db", [("a text", "a label"), *rows])
    with closing(sqlite3.connect(path)) as connection:
        expected = connection.execute(QUERY).fetchall()
    here = read(folder)
    assert here.rows["text"].to_pylist() == [text for text, _ in expected]
    copy_rows("shop.db", reading_of(section()), hub=HUB, out=folder / "raw", at={"train": [path]}, min_labels=0)
    assert read_copied(folder / "raw", reading_of(section())).rows.equals(here.rows)
