"""How a file of rows is written, and what is read of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from secateur.errors import DataError


@dataclass(frozen=True)
class Columns:
    """Names of the columns in the source; ``second`` holds the second text of a pair (``pairs``).

    Where ``sets``, rows have several labels each (``label_sets``): in cells of ``label``, or with ``more`` in a column
    each. Where ``numbers``, the label of a row is a number.
    """

    text: str
    label: str | None
    confidence: str | None
    part: str | None = None
    group: str | None = None
    second: str | None = None
    time: str | None = None
    more: tuple[str, ...] = ()
    sets: bool = False
    numbers: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the labels: none, one, or one for each label."""
        return () if self.label is None else (self.label, *self.more)

    @property
    def texts(self) -> tuple[str, ...]:
        """Those of the texts: one, or the two of a pair."""
        return (self.text,) if self.second is None else (self.text, self.second)

    @property
    def names(self) -> list[str]:
        """The names that are asked for, text first."""
        asked = (self.text, self.second, *self.labels, self.confidence, self.part, self.group, self.time)
        return [name for name in asked if name is not None]


@dataclass(frozen=True)
class Layout:
    """How a table is written, and what a database is asked; see the parameters of the same names under ``ingest``."""

    delimiter: str = "auto"
    header: bool = True
    quotes: Literal["auto", "text"] = "auto"
    escapes: Literal["auto", "backslash"] = "auto"
    bad_rows: Literal["refuse", "drop"] = "refuse"
    sheet: str | None = None
    query: str | None = None
    time_format: str | None = None
    label_separator: str | None = None
    class_names: bool = False


@dataclass(frozen=True)
class Found:
    """Rows that were read.

    Attributes:
        rows: the table.
        remarks: what a person should know about it, one line each.
    """

    rows: pa.Table
    remarks: tuple[str, ...] = field(default=())


class MissingColumn(DataError):
    """A source has not a column of this name.

    Attributes:
        column: the name.
    """

    def __init__(self, said: str, column: str) -> None:
        """Say it of a column."""
        self.column = column
        super().__init__(said)


def require_texts(asked: int | None, columns: Sequence[str], *, model: str) -> None:
    """Refuse a model that reads pairs and one column, and the reverse.

    Args:
        asked: texts of a row that the model reads; None where nobody knows.
        columns: of the texts.
        model: as it was named.

    Raises:
        DataError: naming what would work.
    """
    if asked not in (None, len(columns)):
        wanted = "pairs of texts: name --text-column twice" if asked == 2 else "one text: name one --text-column"
        raise DataError(f"{model} reads {wanted}, found {', '.join(columns)}")


def require(columns: Columns, found: list[str], *, name: str) -> None:
    """Check that a source has each of the columns once.

    Raises:
        DataError: naming the column and those that are there.
    """
    missing = [column for column in columns.names if column not in found]
    if missing:
        plain = (column if column.isprintable() and column == column.strip() else repr(column) for column in found)
        listed = ", ".join(plain)[:300] or "none"
        raise MissingColumn(f"{name} has no column {missing[0]!r}; its columns are: {listed}", missing[0])
    twice = [column for column in columns.names if found.count(column) > 1]
    if twice:
        raise DataError(f"{name} has {found.count(twice[0])} columns named {twice[0]!r}; rename all but one")
