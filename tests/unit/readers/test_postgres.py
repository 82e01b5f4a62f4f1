"""Rows of a PostgreSQL server: a real one, behind a socket in a folder of the test; skipped where there is none."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy.postgres import ROLE, Postgres
from secateur.config.part import parse_part
from secateur.data.acquisition import HubSelection, copy_rows
from secateur.errors import DataError, ProjectError
from secateur.readers.postgres import write_server_answer
from secateur.readers.reading import reading_of
from secateur.scaffolding import setting_up
from secateur.scaffolding.origin import origin_of
from secateur.scaffolding.wish import Wish
from secateur.scheduling.source_version import moved_sources
from secateur.sources.locations import Location, locate
from secateur.workflow.project import Project

QUERY = "SELECT body AS text, stars AS label FROM reviews ORDER BY id"
SECRET = "hunter2aB"
PLACE = Location("database", "database:SHOP", None, {}, "ingest.source")
_TABLE = """
CREATE TABLE reviews (id serial PRIMARY KEY, body text, stars numeric, seen date, raw bytea);
INSERT INTO reviews (body, stars, seen, raw)
SELECT 'row ' || n || E' of\\nmany', n % 2 + (CASE WHEN n > 20 THEN 0.5 ELSE 0 END), '2026-11-30', 'x'
FROM generate_series(1, 40) AS n;
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a database with a table."""
    try:
        postgres = Postgres(tmp_path_factory.mktemp("cluster"))
    except ProjectError as error:
        pytest.skip(str(error))
    server = postgres.start(tmp_path_factory.mktemp("log") / "postgres.log")
    address = f"postgresql://{ROLE}:{SECRET}@/postgres?host={postgres.socket}"
    try:
        server.wait_until(lambda: _answers(address))
        run(address, _TABLE)
        yield address
    finally:
        server.stop()
        postgres.remove_socket()
        shutil.rmtree(postgres.data, ignore_errors=True)


@pytest.fixture
def source(shop: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SHOP", shop)
    return "database:SHOP"


def run(address: str, query: str) -> Any:
    async def ask() -> Any:
        connection = await asyncpg.connect(address)
        try:
            return await (connection.execute if ";" in query else connection.fetchval)(query)
        finally:
            await connection.close()

    return asyncio.run(ask())


def _answers(address: str) -> bool:
    try:
        return bool(run(address, "SELECT 1"))
    except (OSError, asyncpg.PostgresError):
        return False


def config(query: str | None = QUERY) -> Any:
    section = {"source": "database:SHOP", "query": query, "label_column": "label"}
    return parse_part("classification", {"ingest": section, "baseline": {"model": "scratch:config.json"}})


def copy(out: Path, query: str | None = QUERY) -> dict[str, Any]:
    hub = HubSelection(None, "train", None)
    return copy_rows("database:SHOP", reading_of(config(query).ingest), hub=hub, out=out)


def test_the_answer_is_copied_and_pinned(source: str, shop: str, tmp_path: Path) -> None:
    project = Project(tmp_path)
    record = copy(tmp_path / "data/raw")
    assert (record["kind"], record["source"], record["file"]) == ("database", source, "SHOP.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "data/raw/SHOP.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 40 and rows[0] == {"text": "row 1 of\nmany", "label": 1} and rows[-1]["label"] == 0.5
    assert SECRET not in (tmp_path / "data/raw/provenance.json").read_text()
    assert copy(tmp_path / "again") == record
    assert moved_sources(project, config()) == ()
    run(shop, "INSERT INTO reviews (body, stars) VALUES ('one more', 1);")
    (line,) = moved_sources(project, config())
    assert line.startswith("ingest.source=database:SHOP has sha256 ")
    run(shop, "DELETE FROM reviews WHERE body = 'one more';")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (None, "ingest.query says by a SELECT which rows are meant; its tables are: reviews"),
        ("DELETE FROM reviews", "is refused (it begins with 'delete'): it takes one SELECT"),
        ("SELECT 1; DROP TABLE reviews", "cannot insert multiple commands"),
        (
            "WITH gone AS (DELETE FROM reviews RETURNING body AS text, stars AS label) SELECT * FROM gone",
            "is refused (cannot execute SELECT in a read-only transaction)",
        ),
        (
            "SELECT body AS text, nextval('reviews_id_seq') AS label FROM reviews",
            "is refused (cannot execute nextval() in a read-only transaction)",
        ),
        ("SELECT body FROM reviews ORDER BY random()", "(random answers differently each time)"),
        ("SELECT body FROM nowhere", 'relation "nowhere" does not exist'),
        ("SELECT body AS text, raw AS label FROM reviews", "column 'label' holds bytes, not text"),
        ("SELECT id AS text, stars AS label FROM reviews", "column 'text' holds int, not text; CAST(text AS TEXT)"),
        (
            "SELECT body AS text FROM reviews",
            "the answer of database:SHOP has no column 'label'; its columns are: text",
        ),
        ("SELECT body AS text, 1/(id-3) AS label FROM reviews", "division by zero"),
        ("SELECT", "asks database:SHOP for nothing"),
    ],
)
def test_nothing_but_one_select_is_answered(source: str, shop: str, tmp_path: Path, query: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        copy(tmp_path / "raw", query)
    assert said in str(caught.value) and "\n" not in str(caught.value) and SECRET not in str(caught.value)
    assert run(shop, "SELECT count(*) FROM reviews") == 40


def test_what_has_no_type_of_json_is_text_and_init_looks_at_all_columns(source: str, tmp_path: Path) -> None:
    origin = origin_of(source, root=tmp_path, here=tmp_path, query="SELECT * FROM reviews ORDER BY id")
    assert (origin.name, origin.location.kind, origin.copies) == (source, "database", {})
    first = json.loads(Path(origin.asked).read_text(encoding="utf-8").splitlines()[0])
    assert first | {"raw": None} == {"id": 1, "body": "row 1 of\nmany", "stars": 1, "seen": "2026-11-30", "raw": None}


def test_init_guesses_the_columns_of_an_answer(source: str, tmp_path: Path) -> None:
    query = "SELECT body, stars FROM reviews ORDER BY id"
    wish = Wish(
        root=tmp_path / "shop", source=source, here=tmp_path, overrides={"ingest.query": f"ingest.query={query}"}
    )
    origin = origin_of(source, root=wish.root, here=tmp_path, query=wish.given["ingest.query"])
    guess = setting_up.columns(wish, origin)
    assert (guess.texts, guess.label) == (("body",), "stars")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (None, "the environment has no SHOP; it holds the address of the database"),
        (f"mysql://me:{SECRET}@host/shop", "holds the address of mysql, and PostgreSQL is asked"),
        (f"host=here password={SECRET}", "holds the address of something else"),
        (f"postgresql://me:{SECRET}@127.0.0.1:1/shop", "cannot be reached (Connection refused)"),
        (f"postgresql://me:{SECRET}@host:port/shop", "holds the address of postgresql"),
    ],
)
def test_a_server_that_is_not_there_is_one_line_without_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str | None, said: str
) -> None:
    monkeypatch.delenv("SHOP", raising=False)
    if address is not None:
        monkeypatch.setenv("SHOP", address)
    with pytest.raises(DataError) as caught:
        write_server_answer(PLACE, QUERY, columns=None, out=tmp_path / "answer.jsonl")
    assert said in str(caught.value) and SECRET not in str(caught.value) and not list(tmp_path.iterdir())


def test_a_database_is_asked_by_ingest_alone() -> None:
    with pytest.raises(DataError, match="--data: database:SHOP names a database, and files are read here"):
        locate("database:SHOP", asked_by="--data")
    with pytest.raises(DataError, match="is not of the form database:NAME"):
        locate(f"database:postgresql://me:{SECRET}@host/shop", addresses=True)
