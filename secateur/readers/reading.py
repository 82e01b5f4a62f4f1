"""How a source is to be read, as the section ``ingest`` says it."""

from dataclasses import dataclass, field

from secateur.config.ingest import IngestSection
from secateur.readers.label_spelling import LabelRules
from secateur.readers.layout import Columns, Layout


@dataclass(frozen=True)
class Reading:
    """See the parameters of the same names under ``ingest``."""

    columns: Columns
    file_format: str = "auto"
    encoding: str = "auto"
    layout: Layout = field(default_factory=Layout)
    labels: LabelRules = field(default_factory=LabelRules)


def reading_of(ingest: IngestSection) -> Reading:
    """Return what the section says about reading."""
    return Reading(
        columns=Columns(
            text=ingest.text_columns[0],
            second=ingest.text_columns[1] if len(ingest.text_columns) > 1 else None,
            label=ingest.label_column,
            confidence=ingest.confidence_column,
            part=ingest.split_column,
            group=ingest.group_column,
            time=ingest.time_column,
        ),
        file_format=ingest.format,
        encoding=ingest.encoding,
        layout=Layout(
            delimiter=ingest.delimiter,
            header=ingest.header,
            quotes=ingest.quotes,
            escapes=ingest.escapes,
            bad_rows=ingest.bad_rows,
            sheet=ingest.sheet,
            query=ingest.query,
            time_format=ingest.time_format,
        ),
        labels=LabelRules(
            null_labels=ingest.null_labels,
            lookalike_labels=ingest.lookalike_labels,
            rare_labels=ingest.rare_labels,
            rare_label_rows=ingest.rare_label_rows,
        ),
    )
