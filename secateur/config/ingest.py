"""``ingest``: where the rows come from."""

import codecs
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from secateur.config.base import Section

SourceFormat = Literal["auto", "csv", "jsonl", "parquet", "text", "lines"]


class IngestSection(Section):
    """The source, and which of its columns matter."""

    source: Annotated[
        str,
        Field(
            min_length=1,
            description="a local file, package:NAME/path inside an installed package, or a hub dataset id; {a,b}.txt names two files",
        ),
    ]
    format: Annotated[
        SourceFormat,
        Field(
            description="auto = by the file's ending; lines = plain text, a row per line; text = a row per file. Both have the columns text and file (its name without the ending)"
        ),
    ]
    encoding: Annotated[
        str,
        Field(
            description="encoding of a CSV, JSONL or text file, by Python's name; auto = UTF-8, and Latin-1 where a "
            "package ships a file that is not UTF-8 (its user cannot mend it)"
        ),
    ]
    text_column: Annotated[str, Field(min_length=1, description="column that holds the text")]
    label_column: Annotated[
        str | None,
        Field(min_length=1, description="column that holds the label; null = there is none (generation)"),
    ]
    confidence_column: Annotated[
        str | None, Field(description="column with the annotators' confidence in [0, 1], or null")
    ]
    hub_config: Annotated[str | None, Field(description="configuration of a hub dataset, or null")]
    hub_split: Annotated[str, Field(description="split of a hub dataset")]
    hub_revision: Annotated[
        str | None, Field(description="commit of a hub dataset; null takes the newest and records it")
    ]

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

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = [self.text_column, self.label_column, self.confidence_column]
        twice = [column for column in named if column is not None and named.count(column) > 1]
        if twice:
            raise ValueError(
                f"text_column, label_column and confidence_column must name different columns; {twice[0]!r} is named twice"
            )
        if self.format in ("text", "lines"):
            unknown = [column for column in named if column not in (None, "text", "file")]
            if unknown:
                raise ValueError(f"format {self.format} has the columns text and file, found {unknown[0]!r}")
        return self
