"""How a source is to be read, as the section ``ingest`` says it."""

from dataclasses import dataclass, field, replace
from typing import Self

from secateur.config.ingest import IngestSection
from secateur.errors import DataError
from secateur.kinds.base import Kind
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

    def of_kind(self, kind: Kind) -> Self:
        """Return the same for rows of a kind of task: with one label each, or several, or a number."""
        sets, numbers = kind.label_sets, kind.tells_numbers
        columns = replace(self.columns, sets=sets, numbers=numbers)
        return replace(self, columns=columns, labels=replace(self.labels, sets=sets, numbers=numbers))

    def for_model(self, kind: Kind, model: str) -> Self:
        """Return the same for rows that a finished model is judged by.

        Raises:
            DataError: several labels per row were named, and it says one.
        """
        if not kind.label_sets and (self.columns.more or self.layout.label_separator is not None):
            one = "label for each row (problem_type single_label_classification)"
            said = "number for each row (problem_type regression)" if kind.tells_numbers else one
            raise DataError(
                f"{model} says one {said}, and several were "
                "named; name one --label-column without ingest.label_separator"
            )
        return self.of_kind(kind)


def reading_of(ingest: IngestSection, kind: Kind | None = None) -> Reading:
    """Return what the section says about reading.

    Args:
        ingest: the section.
        kind: of task that the rows are for; None for rows with one label each, or none.
    """
    first, *more = ingest.label_columns or (None,)
    reading = Reading(
        columns=Columns(
            text=ingest.text_columns[0],
            second=ingest.text_columns[1] if len(ingest.text_columns) > 1 else None,
            label=first,
            more=tuple(name for name in more if name is not None),
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
            label_separator=ingest.label_separator,
            class_names=ingest.class_names,
        ),
        labels=LabelRules(
            null_labels=ingest.null_labels,
            lookalike_labels=ingest.lookalike_labels,
            rare_labels=ingest.rare_labels,
            rare_label_rows=ingest.rare_label_rows,
        ),
    )
    return reading if kind is None else reading.of_kind(kind)
