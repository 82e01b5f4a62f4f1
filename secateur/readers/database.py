"""Rows that a database in a file answers to one SELECT; SQLite's are opened read-only, by Python's own module."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from secateur.errors import DataError
from secateur.readers.duckdb_file import ask_duckdb, is_duckdb
from secateur.readers.layout import Columns, require
from secateur.readers.query import TIP, named_tables, require_plain_values, short
from secateur.sources.compression import bare

Row = tuple[Any, ...]

_ALLOWED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_BY_CHANCE = frozenset({"random", "randomblob"})


def ask(path: Path, query: str | None) -> tuple[list[str], list[Row]]:
    """Return the names of the columns and the rows of the answer.

    Raises:
        DataError: there is no query, it is no SELECT, the file is no database, or it does not answer.
    """
    if is_duckdb(path):
        return ask_duckdb(path, query)
    with _opened(path) as connection:
        if query is None:
            raise DataError(
                f"{path.name} is an SQLite database; ingest.query says by a SELECT which rows are meant; its tables "
                f"are: {_tables(connection)}"
            )
        connection.set_authorizer(_authorized)
        try:
            cursor = connection.execute(query)
            if cursor.description is None:
                raise DataError(f"ingest.query asks {path.name} for nothing: {TIP}")
            names = [str(column[0]) for column in cursor.description]
            return names, cursor.fetchall()
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise DataError(_said(error, path, connection)) from error


def read_query(path: Path, query: str | None, columns: Columns) -> dict[str, list[Any]]:
    """Return the columns of the answer by name, as Python's values.

    Raises:
        DataError: as ``ask``; a column is missing, holds bytes, or texts are none.
    """
    names, rows = ask(path, query)
    require(columns, names, name=f"the answer of {path.name}")
    found = {name: [row[names.index(name)] for row in rows] for name in columns.names}
    for column, values in found.items():
        require_plain_values(values, column=column, columns=columns, name=path.name)
    return found


def write_answer(path: Path, query: str | None, *, columns: Columns, out: Path) -> None:
    """Write the columns of the answer as JSON Lines, which keep types: the same rows, the same bytes.

    Raises:
        DataError: as ``read_query``.
    """
    found = read_query(path, query, columns)
    with out.open("w", encoding="utf-8", newline="\n") as file:
        for row in zip(*found.values(), strict=True):
            file.write(json.dumps(dict(zip(found, row, strict=True)), ensure_ascii=False) + "\n")


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    if bare(path) != path:
        raise DataError(f"{path.name} is a packed database; unpack it")
    log = path.with_name(f"{path.name}-wal")
    if log.is_file() and log.stat().st_size > 0:
        raise DataError(
            f"{path.name} has changes that are not written into it yet ({log.name}), and what is read should be in the "
            "file; close the programs that write to it, or make a copy by VACUUM INTO"
        )
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)) as connection:
            connection.execute("SELECT 1 FROM sqlite_master").close()
            yield connection
    except sqlite3.Error as error:
        raise DataError(f"{path.name} cannot be read as an SQLite database: {error}") from error


def _authorized(action: int, _: str | None, name: str | None, *__: str | None) -> int:
    """Let nothing pass but reading, by functions that give the same answer each time."""
    is_chance = action == sqlite3.SQLITE_FUNCTION and (name or "").lower() in _BY_CHANCE
    return sqlite3.SQLITE_OK if action in _ALLOWED and not is_chance else sqlite3.SQLITE_DENY


def _said(error: Exception, path: Path, connection: sqlite3.Connection) -> str:
    said = short(error)
    if "not authorized" in said or "one statement" in said:
        return f"ingest.query is refused ({said}): {TIP}"
    connection.set_authorizer(None)
    return f"ingest.query: {path.name} answers: {said}; its tables are: {_tables(connection)}"


def _tables(connection: sqlite3.Connection) -> str:
    found: Sequence[Row] = connection.execute(
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite%' ORDER BY name"
    ).fetchall()
    return named_tables([str(name) for (name,) in found])
