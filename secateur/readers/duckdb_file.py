"""Rows that a DuckDB file answers to one SELECT: opened read-only, with no other file and no network in reach."""

from collections.abc import Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from secateur.errors import DataError
from secateur.readers.query import TIP, by_chance, json_value, named_tables, short

_MAGIC, _MAGIC_AT = b"DUCK", 8
_SETTINGS = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "threads": "1",  # the order of rows and sums does not depend on the machine
    "lock_configuration": "true",
}
_TABLES = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema') "
    "ORDER BY table_name"
)


def is_duckdb(path: Path) -> bool:
    """Tell by its name or its first bytes whether a file is a DuckDB database."""
    if path.suffix.lower() in (".duckdb", ".ddb"):
        return True
    with path.open("rb") as file:
        return file.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] == _MAGIC


def ask_duckdb(path: Path, query: str | None) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the names of the columns and the rows of the answer; what is no type of JSON is text.

    Raises:
        DataError: duckdb is not installed, there is no query, it is no SELECT, or the file does not answer.
    """
    if find_spec("duckdb") is None:
        raise DataError(
            f"{path.name} is a DuckDB database, which takes the package duckdb (the extra duckdb of secateur): pip "
            "install duckdb, or export the rows as Parquet"
        )
    import duckdb

    log = path.with_name(f"{path.name}.wal")
    if log.is_file() and log.stat().st_size > 0:
        raise DataError(
            f"{path.name} has changes that are not written into it yet ({log.name}), and what is read should be in the "
            "file; close the programs that write to it, or run CHECKPOINT there"
        )
    try:
        with closing(duckdb.connect(str(path), read_only=True, config=_SETTINGS)) as connection:
            return _asked(connection, path, query)
    except duckdb.Error as error:
        raise DataError(f"{path.name} cannot be read as a DuckDB database: {short(error)}") from error


def _asked(connection: Any, path: Path, query: str | None) -> tuple[list[str], list[tuple[Any, ...]]]:
    import duckdb

    if query is None:
        raise DataError(
            f"{path.name} is a DuckDB database; ingest.query says by a SELECT which rows are meant; its tables are: "
            f"{_tables(connection)}"
        )
    try:
        statements = connection.extract_statements(query)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise DataError(f"ingest.query is refused: {TIP}")
        volatile = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability = 'VOLATILE'"
        chance = by_chance(query, [str(name) for (name,) in connection.execute(volatile).fetchall()])
        if chance is not None:
            raise DataError(f"ingest.query is refused ({chance} answers differently each time): {TIP}")
        cursor = connection.execute(statements[0])
        names = [str(column[0]) for column in cursor.description]
        return names, [tuple(json_value(value) for value in row) for row in cursor.fetchall()]
    except duckdb.Error as error:
        said = f"ingest.query: {path.name} answers: {short(error)}; its tables are: {_tables(connection)}"
        raise DataError(said) from error


def _tables(connection: Any) -> str:
    found: Sequence[Any] = connection.execute(_TABLES).fetchall()
    return named_tables([str(name) for (name,) in found])
