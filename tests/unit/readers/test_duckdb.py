"""Rows of a DuckDB file: read-only, one SELECT, and nothing else in reach; by the extra duckdb."""

import json
from pathlib import Path
from typing import Any

import pytest

from secateur.config.part import parse_part
from secateur.data.acquisition import HubSelection, check_rows, copy_rows
from secateur.errors import DataError
from secateur.files import sha256_file
from secateur.readers import duckdb_file
from secateur.readers.reading import reading_of

QUERY = "SELECT body AS text, stars AS label FROM reviews ORDER BY id"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path_factory.mktemp("shop") / "shop.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE reviews AS SELECT n AS id, 'row ' || n AS body, (n % 2)::DECIMAL(4, 1) AS stars,"
            " DATE '2026-11-30' AS seen, 'x'::BLOB AS raw FROM range(40) AS t(n)"
        )
        connection.execute("CREATE SEQUENCE numbers")
    return path


def reading(query: str | None = QUERY) -> Any:
    section = {"source": "-", "query": query, "label_column": "label"}
    return reading_of(parse_part("classification", {"ingest": section}).ingest)


def test_the_answer_is_read_and_copied(shop: Path, tmp_path: Path) -> None:
    found = check_rows(str(shop), reading())
    assert found is not None and found.rows["label"].to_pylist() == ["0", "1"] * 20
    before = sha256_file(shop)
    record = copy_rows(str(shop), reading(), hub=HubSelection(None, "train", None), out=tmp_path / "raw")
    assert (record["file"], record["format"]) == ("shop.duckdb.jsonl", "jsonl")
    first = json.loads((tmp_path / "raw/shop.duckdb.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first == {"text": "row 0", "label": 0}
    assert sha256_file(shop) == before and [path.name for path in shop.parent.iterdir()] == ["shop.duckdb"]
    dated = check_rows(str(shop), reading("SELECT body AS text, seen AS label FROM reviews"), min_labels=0)
    assert dated is not None and set(dated.rows["label"].to_pylist()) == {"2026-11-30"}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (None, "is a DuckDB database; ingest.query says by a SELECT which rows are meant; its tables are: reviews"),
        ("DROP TABLE reviews", "ingest.query is refused: it takes one SELECT"),
        (f"{QUERY}; {QUERY}", "ingest.query is refused: it takes one SELECT"),
        ("SET threads = 4", "ingest.query is refused: it takes one SELECT"),
        ("COPY reviews TO 'stolen.csv'", "ingest.query is refused: it takes one SELECT"),
        ("SELECT body AS text, random() AS label FROM reviews", "(random answers differently each time)"),
        ("SELECT body AS text, nextval('numbers') AS label FROM reviews", "(nextval answers differently each time)"),
        ("SELECT body AS text, 1 AS label FROM reviews USING SAMPLE 3", "(using sample answers differently"),
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled by configuration"),
        ("SELECT body AS text, raw AS label FROM reviews", "column 'label' holds bytes, not text"),
        ("SELECT nothing FROM reviews", "ingest.query: shop.duckdb answers: Binder Error"),
        ("SELEC", "ingest.query: shop.duckdb answers: Parser Error"),
    ],
)
def test_nothing_but_one_select_is_answered(shop: Path, query: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        check_rows(str(shop), reading(query))
    assert said in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_what_is_no_database_is_told(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "shop.duckdb").write_bytes(shop.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"shop\.duckdb cannot be read as a DuckDB database"):
        check_rows(str(tmp_path / "shop.duckdb"), reading())


def test_the_package_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.duckdb").write_bytes(b"12345678DUCK")
    monkeypatch.setattr(duckdb_file, "find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"takes the package duckdb .*pip install duckdb"):
        check_rows(str(tmp_path / "shop.duckdb"), reading())
