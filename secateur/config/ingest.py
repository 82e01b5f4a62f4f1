"""``ingest``: where the rows come from."""

import codecs
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from secateur.config.addresses import IN_ITS_PLACE, is_address, problem_of, redacted
from secateur.config.base import Section


def _by_number(column: Any) -> Any:
    """A column or a sheet may be called 0, which YAML takes for a number."""
    return str(column) if isinstance(column, int) and not isinstance(column, bool) else column


def _one_or_two(given: Any) -> Any:
    names = [_by_number(name) for name in (given if isinstance(given, list | tuple) else [given])]
    if not 1 <= len(names) <= 2 or not all(isinstance(name, str) and name for name in names):
        raise ValueError("is the name of a column, or a list of two")
    return names[0] if len(names) == 1 else tuple(names)


def _one_or_more(given: Any) -> Any:
    names = [_by_number(name) for name in (given if isinstance(given, list | tuple) else [given])]
    if names == [None]:
        return None
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError("is the name of a column, or a list of them")
    return names[0] if len(names) == 1 else tuple(names)


PlainName = Annotated[str, BeforeValidator(_by_number), Field(min_length=1)]
SourceFormat = Literal["auto", "csv", "jsonl", "parquet", "excel", "sqlite", "duckdb", "text", "lines", "fasttext"]

SQLITE = "sqlite:///"
"""Stands before the path of a database in an address, as SQLAlchemy writes it; an absolute path has a slash more."""


class IngestSection(Section):
    """The source, and which of its columns matter."""

    source: Annotated[
        str,
        Field(
            min_length=1,
            description="a local file, package:NAME/path inside an installed package, a hub dataset id, or an address (https://..., s3://..., hf://..., what else fsspec opens; ${SOURCE_NAME} in it is taken from the environment), or database:NAME, a PostgreSQL server whose address is the environment's NAME; {a,b}.txt names two files, a folder or *.csv those in it. A mapping train: ..., validation: ..., test: ... gives the parts",
        ),
    ]
    validation_source: Annotated[
        str | None,
        Field(
            min_length=1,
            description="file(s) or address with the validation rows; null = a part of the source (clean.validation_fraction)",
        ),
    ] = None
    test_source: Annotated[
        str | None,
        Field(
            min_length=1,
            description="file(s) or address with the test rows, all of them and nothing else; null = a part of the source (clean.test_fraction)",
        ),
    ] = None
    format: Annotated[
        SourceFormat,
        Field(
            description="auto = by the file's ending; lines = plain text, a row per line; text = a row per file. Both have the columns text and file (its name without the ending); fasttext = lines of labels (__label__x) and a text, with the columns text and label"
        ),
    ] = "auto"
    encoding: Annotated[
        str,
        Field(
            description="encoding of a CSV, JSONL or text file, by Python's name; auto = what a byte order mark says, else UTF-8, and Latin-1 where a "
            "package ships a file that is not UTF-8 (its user cannot mend it)"
        ),
    ] = "auto"
    delimiter: Annotated[
        str,
        Field(
            min_length=1,
            description="between the cells of a CSV or TSV; auto = that of a first line sep=, else the one of , ; tab | under which the header has the columns",
        ),
    ] = "auto"
    header: Annotated[
        bool,
        Field(
            description="the first line of a CSV or TSV, or a row of a workbook, names the columns; false = it is a row, columns are 0, 1, ..."
        ),
    ] = True
    quotes: Annotated[
        Literal["auto", "text"],
        Field(
            description='auto = a " encloses a cell (where all names of columns stand in apostrophes, these do), and in a table with tabs it is text where that cannot be; text = it is a character like any other'
        ),
    ] = "auto"
    escapes: Annotated[
        Literal["auto", "backslash"],
        Field(
            description='what a backslash in a CSV or TSV does: backslash = it makes a ", a backslash, a delimiter or the end of a line behind it a part of the cell; auto = that, where only so every row can be read, and else nothing'
        ),
    ] = "auto"
    bad_rows: Annotated[
        Literal["refuse", "drop"],
        Field(description="rows of a CSV that cannot be read (a stray quote, a cell too many)"),
    ] = "refuse"
    sheet: Annotated[
        PlainName | None,
        Field(
            description="sheet of a workbook, by its name or its number from 1; null = the first that has the columns",
        ),
    ] = None
    query: Annotated[
        str | None,
        Field(
            min_length=1,
            description="SELECT that a database is asked (an SQLite or DuckDB file, sqlite:///file.db, or database:NAME); its answer is what is copied. With ORDER BY the order of the rows does not depend on the file",
        ),
    ] = None
    text_column: Annotated[
        str | tuple[str, str],
        BeforeValidator(_one_or_two),
        Field(description="column that holds the text, or the two of a pair: [premise, hypothesis]"),
    ] = "text"
    label_column: Annotated[
        str | tuple[str, ...] | None,
        BeforeValidator(_one_or_more),
        Field(
            description="column that holds the label, of regression a number, of multi_label a list of labels, or a list of columns of 0 and 1, one for each label; null = there is none (generation)"
        ),
    ] = None
    label_separator: Annotated[
        str | None,
        Field(
            min_length=1,
            description="multi_label: what stands between the labels of a cell (|); null = nothing, a cell holds one label or a list",
        ),
    ] = None
    class_names: Annotated[
        bool,
        Field(
            description="numbers of labels become the names that a Parquet file declares for them (ClassLabel of the library datasets), -1 becomes none; false = they stay numbers"
        ),
    ] = False
    split_column: Annotated[
        PlainName | None,
        Field(description="column that says of each row whether it is train, validation or test, or null"),
    ] = None
    group_column: Annotated[
        PlainName | None,
        Field(
            description="column of the author, customer or thread: rows of one stand in one part of the split; or null",
        ),
    ] = None
    time_column: Annotated[
        PlainName | None,
        Field(
            description="column of dates, times or numbers that say when each row was written: the latest rows test, those before them validate, and no two rows of one time are divided; or null",
        ),
    ] = None
    time_format: Annotated[
        str | None,
        Field(
            min_length=1,
            description="how the texts of time_column are written, by Python's letters: %d/%m/%Y; null = ISO 8601 (2024-03-31, 2024-03-31T18:00:00Z) or numbers",
        ),
    ] = None
    null_labels: Annotated[
        Literal["keep", "drop"], Field(description="labels such as nan, None, NULL, N/A: labels, or rows without one")
    ] = "keep"
    lookalike_labels: Annotated[
        Literal["keep", "merge"],
        Field(description="labels that differ in case, width or what is invisible; merge = the most frequent spelling"),
    ] = "keep"
    rare_labels: Annotated[
        Literal["refuse", "drop", "merge"],
        Field(
            description="labels of which cleaning leaves too few rows: refuse those that not every part of the split can have; drop those of fewer than rare_label_rows, or merge them into one, other"
        ),
    ] = "refuse"
    rare_label_rows: Annotated[
        int, Field(ge=3, description="labels of fewer rows after cleaning are rare; no effect while those are refused")
    ] = 3
    confidence_column: Annotated[
        PlainName | None, Field(description="column with the annotators' confidence in [0, 1], or null")
    ] = None
    sha256: Annotated[
        str | None,
        Field(
            pattern="^[0-9a-f]{64}$",
            description="digest that the file at an address must have, as data/raw/provenance.json records it; null takes what is there, and records it",
        ),
    ] = None
    hub_config: Annotated[str | None, Field(description="configuration of a hub dataset, or null")] = None
    hub_split: Annotated[str, Field(description="split of a hub dataset")] = "train"
    hub_revision: Annotated[
        str | None, Field(description="commit of a hub dataset; null takes the newest and records it")
    ] = None

    @property
    def given(self) -> dict[str, str]:
        """Where the rows are that were given to judge: name of the part -> source."""
        asked = {"validation": self.validation_source, "test": self.test_source}
        return {part: source for part, source in asked.items() if source is not None}

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The column of the texts, or the two of pairs."""
        return (self.text_column,) if isinstance(self.text_column, str) else self.text_column

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The column of the labels, or those of each label; none where there are no labels."""
        if self.label_column is None:
            return ()
        return (self.label_column,) if isinstance(self.label_column, str) else self.label_column

    @property
    def _columns(self) -> list[str | None]:
        others = (self.confidence_column, self.split_column, self.group_column, self.time_column)
        return [*self.text_columns, *self.label_columns, *others]

    @model_validator(mode="before")
    @classmethod
    def _given_parts(cls, values: Any) -> Any:
        """Take ``source: {train: a, validation: b, test: c}`` for the three parameters that it stands for."""
        if not isinstance(values, Mapping) or not isinstance(values.get("source"), Mapping):
            return values
        parts = dict(values["source"])
        unknown = [str(name) for name in parts if name not in ("train", "validation", "test")]
        if unknown or "train" not in parts:
            found = unknown[0] if unknown else ", ".join(map(str, parts)) or "nothing"
            raise ValueError(f"source takes train, and validation and test where they are given; found {found}")
        named = {"source": parts.pop("train")} | {f"{part}_source": source for part, source in parts.items()}
        twice = [name for name in named if name != "source" and values.get(name) is not None]
        if twice:
            raise ValueError(f"{twice[0]} and source.{twice[0].removesuffix('_source')} are the same; give one of them")
        return {**values, **named}

    @field_validator("source", "validation_source", "test_source")
    @classmethod
    def _place(cls, source: str | None) -> str | None:
        """Take the path out of the address of a database; any other address is judged as it is written."""
        if source is None:
            return None
        place = source.removeprefix(SQLITE)
        problem = problem_of(place) if is_address(place) else None
        if problem is None and redacted(place) != place:
            problem = f"holds a secret in clear; {IN_ITS_PLACE}"
        if problem is not None:
            raise ValueError(problem)
        return place

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, delimiter: str) -> str:
        given = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
        if given != "auto" and (len(given) != 1 or given in '"\r\n'):
            raise ValueError("is auto, tab or one character; of a longer one, write a tab in its place into the file")
        return given

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        if encoding == "auto":
            return encoding
        try:
            "".encode(encoding)
        except LookupError as error:
            raise ValueError("is not the name of a text encoding; try utf-8, cp1252 or gb18030") from error
        return codecs.lookup(encoding).name

    @field_validator("time_format")
    @classmethod
    def _readable(cls, time_format: str | None) -> str | None:
        if time_format is None:
            return None
        try:
            datetime.strptime("", time_format)
        except ValueError as error:
            if "does not match" not in str(error):
                raise ValueError(f"is not written in the letters of strptime: {error}") from error
        if "%" not in time_format:
            raise ValueError("is written in the letters of strptime, such as %d/%m/%Y")
        return time_format

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = self._columns
        twice = [column for column in named if column is not None and named.count(column) > 1]
        if twice:
            raise ValueError(
                f"text_column, label_column and the others must name different columns; {twice[0]!r} is named twice"
            )
        if self.split_column is not None and self.given:
            raise ValueError(
                f"split_column and {next(iter(self.given))}_source both say which rows judge; give one of them"
            )
        if self.sha256 is not None and not is_address(self.source):
            raise ValueError("sha256 is that of the file at an address (https://..., s3://...), and source is none")
        if self.time_column is not None and len(self.given) == len(("validation", "test")):
            raise ValueError(
                "time_column has nothing to divide where validation_source and test_source are given; leave one out"
            )
        if self.time_format is not None and self.time_column is None:
            raise ValueError("time_format says how time_column is written, and no column is named")
        if self.format in ("text", "lines", "fasttext"):
            other = "label" if self.format == "fasttext" else "file"
            unknown = [column for column in named if column not in (None, "text", other)]
            if unknown:
                raise ValueError(
                    f"format {self.format} has the columns text and {other}, found {unknown[0]!r}; a table in such "
                    "a file, with tabs or commas, is read by format csv"
                )
        return self
