"""Rows that a PostgreSQL server answers to one SELECT, in a transaction that can change nothing.

Asked by asyncpg, which Prefect brings: it prepares a query before it runs it, so that the protocol itself takes one
statement and no more, and what has no columns to give is never run.
"""

import asyncio
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from secateur.errors import DataError
from secateur.readers.layout import Columns, require
from secateur.readers.query import TIP, by_chance, code_of, json_value, named_tables, require_plain_values, short
from secateur.sources.locations import DATABASE_PREFIX, Location

if TYPE_CHECKING:
    import asyncpg

CONNECT_S = 15.0
"""How long a server may take to let us in."""

_log = logging.getLogger(__name__)
_FIRST_WORDS = ("select", "with", "values", "table")
_BY_CHANCE = ("random", "random_normal", "gen_random_uuid", "clock_timestamp")
_ROWS_AT_ONCE = 5000
_TABLES = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema') "
    "ORDER BY table_name LIMIT 20"
)


def write_server_answer(location: Location, query: str | None, *, columns: Columns | None, out: Path) -> None:
    """Write the columns of the answer as JSON Lines, which keep types: the same rows, the same bytes.

    Args:
        location: ``database:NAME``; the address of the server is the value of the environment's variable NAME.
        query: one SELECT.
        columns: that are written; None writes all of them.
        out: the file.

    Raises:
        DataError: there is no such variable or server, the query is none or more than a SELECT, or it is not answered.
    """
    address = _address_of(location)
    if query is not None:
        _require_select(query)
    asyncio.run(_write(location, address, query, columns=columns, out=out))


def _address_of(location: Location) -> str:
    variable = location.name.removeprefix(DATABASE_PREFIX)
    address = os.environ.get(variable, "").strip()
    if not address:
        raise DataError(
            f"{location.asked_by}={location.name}: the environment has no {variable}; it holds the address of the "
            "database, postgresql://user:password@host/name"
        )
    scheme, _, rest = address.partition("://")
    if scheme.partition("+")[0] not in ("postgresql", "postgres") or not _can_be_split(address):
        what = scheme.partition("+")[0] if rest and scheme.replace("+", "").isalnum() else "something else"
        raise DataError(
            f"{location.asked_by}={location.name}: {variable} holds the address of {what}, and PostgreSQL is asked "
            "(postgresql://...); SQLite is a file: name its path; of others, export the rows as Parquet or CSV"
        )
    return f"postgresql://{rest}"


def _can_be_split(address: str) -> bool:
    try:
        _ = urlsplit(address).port
    except ValueError:
        return False
    return True


def _require_select(query: str) -> None:
    """Refuse what is no SELECT by its first word, or answers by chance."""
    code = code_of(query)
    first = code.lstrip(" \n\r\t(").partition(" ")[0].strip().lower()
    if not first.startswith(_FIRST_WORDS):
        raise DataError(f"ingest.query is refused (it begins with {first[:20]!r}): {TIP}")
    if (chance := by_chance(query, _BY_CHANCE)) is not None:
        raise DataError(f"ingest.query is refused ({chance} answers differently each time): {TIP}")
    if re.search(r"\border\s+by\b", code, re.IGNORECASE) is None:
        _log.warning(
            "ingest.query has no ORDER BY: a server may give the same rows in another order, which is another data "
            "version"
        )


async def _write(location: Location, address: str, query: str | None, *, columns: Columns | None, out: Path) -> None:
    connection = await _entered(location, address)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            if query is None:
                raise DataError(
                    f"{location.asked_by}={location.name} is a database; ingest.query says by a SELECT which rows are "
                    f"meant; its tables are: {await _tables(connection)}"
                )
            with _refused(location):
                prepared = await connection.prepare(query)
            names = [attribute.name for attribute in prepared.get_attributes()]
            if not names:
                raise DataError(f"ingest.query asks {location.name} for nothing: {TIP}")
            asked = Columns(names[0], None, None) if columns is None else columns
            require(asked, names, name=f"the answer of {location.name}")
            wanted = list(dict.fromkeys(names)) if columns is None else columns.names
            places = [names.index(name) for name in wanted]
            with out.open("w", encoding="utf-8", newline="\n") as file, _refused(location):
                async for record in prepared.cursor(prefetch=_ROWS_AT_ONCE):
                    row = {name: json_value(record[place]) for name, place in zip(wanted, places, strict=True)}
                    for name, value in row.items() if columns is not None else ():
                        require_plain_values([value], column=name, columns=asked, name=location.name)
                    file.write(json.dumps(row, ensure_ascii=False, default=repr) + "\n")
    finally:
        await connection.close(timeout=CONNECT_S)


async def _entered(location: Location, address: str) -> "asyncpg.Connection[Any]":
    """Connect; what is told of a failure holds nothing of the address."""
    import asyncpg

    try:
        return await asyncpg.connect(
            address, timeout=CONNECT_S, server_settings={"default_transaction_read_only": "on"}
        )
    except asyncpg.PostgresError as error:
        said = f"does not let us in ({type(error).__name__})"
    except TimeoutError:
        said = f"does not answer within {CONNECT_S:g} s"
    except OSError as error:
        why = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else type(error).__name__
        said = f"cannot be reached ({why})"
    except (asyncpg.InterfaceError, ValueError) as error:
        said = f"has an address that is not one of PostgreSQL ({type(error).__name__})"
    raise DataError(f"{location.asked_by}={location.name} {said}") from None  # whose trace would show the address


@contextmanager
def _refused(location: Location) -> Iterator[None]:
    """Turn what a server says to a query into one line; it knows no password."""
    import asyncpg

    try:
        yield
    except asyncpg.ReadOnlySQLTransactionError as error:
        raise DataError(f"ingest.query is refused ({short(error)}): {TIP}") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DataError(f"ingest.query: {location.name} answers: {short(error)}") from error
    except OSError as error:
        raise DataError(f"ingest.query: {location.name} broke off ({type(error).__name__}); run again") from error


async def _tables(connection: "asyncpg.Connection[Any]") -> str:
    found: Sequence[Any] = await connection.fetch(_TABLES)
    return named_tables([str(row[0]) for row in found])
